from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from brevo_events.management.changes import ChangeCommand
from brevo_events.querysets import Changed, OutboxEventQuerySet


class Command(ChangeCommand):
    help = "Cancel events that are still pending: they do not go out. What is being sent at this moment goes on."
    question = _("Cancel %d events? [y/N] ")
    would = _("Would be cancelled: %d.")
    nothing = _("Nothing to cancel.")
    refused = _("Nothing was cancelled.")
    done = _("Cancelled: %d.")

    def change(self, events: OutboxEventQuerySet, *, dry_run: bool, options: dict[str, Any]) -> Changed:
        return events.cancel(dry_run=dry_run)
