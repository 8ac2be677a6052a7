from __future__ import annotations

from brevo_events.actions import ACTIONS
from brevo_events.management.changes import ChangeCommand


class Command(ChangeCommand):
    help = (
        "Send finished events again, with their attempts counted from zero; earlier attempts stay recorded. Events "
        "that Brevo has accepted are sent again only with --include-sent. A resend may change the order of a contact's "
        "events."
    )
    action = ACTIONS["resend"]
