from __future__ import annotations

from brevo_events.actions import ACTIONS
from brevo_events.management.changes import ChangeCommand


class Command(ChangeCommand):
    help = "Cancel pending events: they will not be sent. One that is being sent at this moment is not called back."
    action = ACTIONS["cancel"]
