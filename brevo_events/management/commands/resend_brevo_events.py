from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import engines
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import FILTERS, add_filters, chosen_events, has_filter


class Command(BaseCommand):
    help = (
        "Make finished events due again, from zero attempts; what was tried stays recorded. "
        "What is sent is sent again only with --include-sent. A resend may change the order of a contact's events."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_filters(parser)
        parser.add_argument("--include-sent", action="store_true", help="Also events that Brevo has taken already.")
        parser.add_argument(
            "--include-outdated",
            action="store_true",
            help="Also events for which a newer one of the same contact and object exists, a stale cart for instance.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be resent.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not has_filter(options):
            raise CommandError("Say which events: by their numbers, or by --status, --event, --email, --since, …")
        events = chosen_events(**{name: options[name] for name in (*FILTERS, "limit")})
        included = {name: options[name] for name in ("include_sent", "include_outdated")}
        plan = events.resend(**included, dry_run=True)
        for reason, count in plan.skipped.items():
            self.stdout.write(_("Skipped: %(count)d (%(reason)s).") % {"count": count, "reason": reason})
        if options["dry_run"] or not plan.pks:
            self.stdout.write(_("Would be resent: %d.") % len(plan.pks) if plan.pks else _("Nothing to resend."))
            return
        if options["interactive"] and sys.stdin.isatty() and not self._confirmed(len(plan.pks)):
            raise CommandError("Nothing was resent.")
        resent = events.resend(**included)
        self.stdout.write(_("Due again: %d.") % len(resent.pks))
        try:
            engines.nudge()
        except InvalidSetting as error:
            raise CommandError(str(error)) from error

    def _confirmed(self, count: int) -> bool:
        return input(_("Resend %d events? [y/N] ") % count).strip().lower() in ("y", "yes")
