from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from brevo_events import engines
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import FILTERS, add_filters, chosen_events, has_filter
from brevo_events.management.progress import shown
from brevo_events.querysets import Changed, OutboxEventQuerySet, in_batches


class ChangeCommand(BaseCommand):
    """Change the events that filters choose: say which are skipped and why, ask, then do it in small steps."""

    question: str | Promise
    would: str | Promise
    nothing: str | Promise
    refused: str | Promise
    done: str | Promise

    def change(self, events: OutboxEventQuerySet, *, dry_run: bool, options: dict[str, Any]) -> Changed:
        """Change events, or only say what would change."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        add_filters(parser)
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not has_filter(options):
            raise CommandError("Say which events: by their numbers, or by --status, --event, --email, --since, …")
        events = chosen_events(**{name: options[name] for name in (*FILTERS, "limit")})
        plan = self.change(events, dry_run=True, options=options)
        for reason, count in plan.skipped.items():
            self.stdout.write(_("Skipped: %(count)d (%(reason)s).") % {"count": count, "reason": reason})
        if options["dry_run"] or not plan.pks:
            self.stdout.write(str(self.would) % len(plan.pks) if plan.pks else str(self.nothing))
            return
        if options["interactive"] and sys.stdin.isatty() and not confirmed(str(self.question) % len(plan.pks)):
            raise CommandError(str(self.refused))
        steps = (
            len(self.change(events.model.objects.filter(pk__in=pks), dry_run=False, options=options).pks)
            for pks in in_batches(plan.pks)
        )
        self.stdout.write(str(self.done) % sum(shown(self, steps, len(plan.pks))))
        try:
            engines.nudge()
        except InvalidSetting as error:
            raise CommandError(str(error)) from error


def confirmed(question: str) -> bool:
    """Return whether the person at the terminal says yes; the end of the input is a no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
