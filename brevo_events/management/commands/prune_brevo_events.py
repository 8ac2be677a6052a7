from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import privacy
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import days
from brevo_events.management.progress import shown


class Command(BaseCommand):
    help = (
        "Delete events that ended long ago, with their attempts: those that failed after --failed-days, superseded "
        "ones after a day, all others after --days. Never one that has still to go out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=days, metavar="N", help="Instead of RETENTION_DAYS.")
        parser.add_argument("--failed-days", type=days, metavar="N", help="Instead of FAILED_RETENTION_DAYS.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many would be deleted.")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        ages = {"days": options["days"], "failed_days": options["failed_days"]}
        try:
            # A count reads the whole index: only where somebody sees it.
            total = sum(events.count() for events in privacy.prunable(**ages)) if dry_run or self.stderr.isatty() else 0
            if dry_run:
                self.stdout.write(_("Would be deleted: %d.") % total)
                return
            self.stdout.write(_("Deleted: %d.") % sum(shown(self, privacy.prune(**ages), total)))
        except InvalidSetting as error:
            raise CommandError(str(error)) from error
