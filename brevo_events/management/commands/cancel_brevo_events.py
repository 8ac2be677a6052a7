from __future__ import annotations

from brevo_events.actions import ACTIONS
from brevo_events.management.changes import ChangeCommand


class Command(ChangeCommand):
    help = "Cancel pending events, so that they are not sent. An event that is being sent right now is not stopped."
    action = ACTIONS["cancel"]
