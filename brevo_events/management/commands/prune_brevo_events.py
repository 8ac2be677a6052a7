from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from brevo_events import retention
from brevo_events.management.arguments import days
from brevo_events.management.outbox import OutboxCommand
from brevo_events.management.progress import shown


class Command(OutboxCommand):
    help = (
        "Delete old finished events, with their attempts: failed ones after --failed-days, all others after "
        "--days. Unfinished events are never deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=days, metavar="N", help="Overrides RETENTION_DAYS.")
        parser.add_argument("--failed-days", type=days, metavar="N", help="Overrides FAILED_RETENTION_DAYS.")
        parser.add_argument("--dry-run", action="store_true", help="Only show how many would be deleted.")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        ages = {"days": options["days"], "failed_days": options["failed_days"]}
        # A count reads the whole index, so only count if it is shown.
        is_shown = dry_run or self.stderr.isatty()
        total = sum(events.count() for events in retention.prunable(**ages)) if is_shown else 0
        if dry_run:
            self.stdout.write(_("Would be deleted: %d.") % total)
            return
        self.stdout.write(_("Deleted: %d.") % sum(shown(self, retention.prune(**ages), total)))
