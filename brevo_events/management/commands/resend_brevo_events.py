from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext_lazy as _

from brevo_events.management.changes import ChangeCommand
from brevo_events.querysets import Changed, OutboxEventQuerySet


class Command(ChangeCommand):
    help = (
        "Make finished events due again, from zero attempts; what was tried stays recorded. "
        "What is sent is sent again only with --include-sent. A resend may change the order of a contact's events."
    )
    question = _("Resend %d events? [y/N] ")
    would = _("Would be resent: %d.")
    nothing = _("Nothing to resend.")
    refused = _("Nothing was resent.")
    done = _("Due again: %d.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--include-sent", action="store_true", help="Also events that Brevo has taken already.")
        parser.add_argument(
            "--include-outdated",
            action="store_true",
            help="Also events for which a newer one of the same contact and object exists, a stale cart for instance.",
        )
        parser.add_argument("--include-expired", action="store_true", help="Also events that have expired.")

    def change(self, events: OutboxEventQuerySet, *, dry_run: bool, options: dict[str, Any]) -> Changed:
        return events.resend(
            include_sent=options["include_sent"],
            include_outdated=options["include_outdated"],
            include_expired=options["include_expired"],
            dry_run=dry_run,
        )
