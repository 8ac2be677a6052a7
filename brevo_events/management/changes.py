from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from brevo_events import engines
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import FILTERS, add_filters, chosen_events, has_filter
from brevo_events.management.progress import shown
from brevo_events.models import outbox
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
        plan = self.plan(options)
        self.tell_skipped(plan)
        if options["dry_run"] or not plan.pks:
            self.stdout.write(str(self.would) % len(plan.pks) if plan.pks else str(self.nothing))
            return
        if options["interactive"] and sys.stdin.isatty() and not confirmed(str(self.question) % len(plan.pks)):
            raise CommandError(str(self.refused))
        changed = Changed()
        for _count in shown(self, self.steps(plan.pks, changed, options), len(plan.pks)):
            pass
        self.tell_skipped(changed)
        self.stdout.write(str(self.done) % len(changed.pks))
        try:
            engines.nudge()
        except InvalidSetting as error:
            raise CommandError(str(error)) from error

    def plan(self, options: dict[str, Any]) -> Changed:
        """Return what would change: with a limit, the oldest events that may be changed at all."""
        plan, limit = Changed(), options["limit"]
        for pks in in_batches(list(chosen_events(**{name: options[name] for name in FILTERS}))):
            plan.add(self.change(outbox().filter(pk__in=pks), dry_run=True, options=options))
            if limit is not None and len(plan.pks) >= limit:
                plan.pks = sorted(plan.pks)[:limit]
                break
        return plan

    def steps(self, pks: list[int], changed: Changed, options: dict[str, Any]) -> Iterator[int]:
        """Change events in small transactions, and yield how many after each."""
        for batch in in_batches(pks):
            step = self.change(outbox().filter(pk__in=batch), dry_run=False, options=options)
            changed.add(step)
            yield len(step.pks)

    def tell_skipped(self, result: Changed) -> None:
        """Print how many events stay as they are, and why."""
        for reason, count in result.skipped.items():
            self.stdout.write(_("Skipped: %(count)d (%(reason)s).") % {"count": count, "reason": reason})


def confirmed(question: str) -> bool:
    """Return whether the person at the terminal says yes; the end of the input is a no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
