from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils.translation import gettext as _

from brevo_events import engines
from brevo_events.actions import Action
from brevo_events.management.arguments import FILTERS, add_filters, chosen_events, has_filter
from brevo_events.management.outbox import OutboxCommand
from brevo_events.management.progress import shown
from brevo_events.models import OutboxEvent
from brevo_events.querysets import Changed, in_batches


class ChangeCommand(OutboxCommand):
    """Base class for commands that change the events matching filters, in small steps, after asking."""

    action: Action

    def add_arguments(self, parser: CommandParser) -> None:
        add_filters(parser)
        for name, (_reason, label) in self.action.options.items():
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=f"{label}.")
        parser.add_argument("--dry-run", action="store_true", help="Only show what would be done.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not has_filter(options):
            raise CommandError(
                "Say which events: by their IDs, or by --status, --event, --email, --since, --message, …"
            )
        plan = self.plan(options)
        self.report_skipped(plan)
        if not plan.pks:
            self.stdout.write(_("There is nothing to do."))
            return
        planned = str(self.action.planned % len(plan.pks))
        if options["dry_run"]:
            self.stdout.write(_("Dry run: %s") % planned)
            return
        if options["interactive"] and sys.stdin.isatty() and not confirmed(_("%s Continue? [y/N] ") % planned):
            raise CommandError(_("Nothing was changed."))
        changed = Changed()
        for _count in shown(self, self.steps(plan.pks, changed, options), len(plan.pks)):
            pass
        self.report_skipped(changed)
        self.stdout.write(str(self.action.done % len(changed.pks)))
        self.nudge()

    def plan(self, options: dict[str, Any]) -> Changed:
        """Return what would change; with a limit, the oldest events that can be changed."""
        plan, limit = Changed(), options["limit"]
        for pks in in_batches(list(chosen_events(**{name: options[name] for name in FILTERS}))):
            plan.add(self.change(pks, options, dry_run=True))
            if limit is not None and len(plan.pks) >= limit:
                plan.pks = sorted(plan.pks)[:limit]
                break
        return plan

    def steps(self, pks: list[int], changed: Changed, options: dict[str, Any]) -> Iterator[int]:
        """Change events in small transactions, and yield how many after each."""
        for batch in in_batches(pks):
            step = self.change(batch, options)
            changed.add(step)
            yield len(step.pks)

    def change(self, pks: list[int], options: dict[str, Any], *, dry_run: bool = False) -> Changed:
        """Change events as the options say, or only find out what would change."""
        included = {name: options[name] for name in self.action.options}
        return self.action.change(OutboxEvent.objects.all(), pks, dry_run=dry_run, **included)

    def report_skipped(self, result: Changed) -> None:
        """Print how many events were skipped, and why."""
        for reason, count in result.skipped.items():
            self.stdout.write(_("Skipped: %(count)d (%(reason)s).") % {"count": count, "reason": reason})

    def nudge(self) -> None:
        """Wake the engine once the events are committed, perhaps by a transaction of the caller's."""
        connection = transaction.get_connection(OutboxEvent.objects.db)
        if connection.in_atomic_block:
            # Robust, because the events are changed, even if the engine raises.
            transaction.on_commit(engines.nudge, using=connection.alias, robust=True)
        elif connection.get_autocommit():
            engines.nudge()


def confirmed(question: str) -> bool:
    """Return whether the person at the terminal says yes; end of input means no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
