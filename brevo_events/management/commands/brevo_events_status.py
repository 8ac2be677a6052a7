from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from brevo_events.management.arguments import positive
from brevo_events.stats import COUNT_LIMIT, Summary, summarise

HELD_BACK, TOO_OLD, TOO_MANY_FAILED = 2, 3, 4


class Command(BaseCommand):
    help = (
        "Say how delivery fares. Exit codes: 0 well, or paused by an operator; 2 a fault holds sending back; "
        "3 an event has been due for longer than --max-age; 4 more events have failed than --max-failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for programs.")
        parser.add_argument("--max-age", type=positive, metavar="S", help="Seconds that an event may be due.")
        parser.add_argument(
            "--max-failed", type=tolerable, metavar="N", help="Failed events that are tolerated, below 10,000."
        )

    def handle(self, *args: Any, max_age: int | None, max_failed: int | None, **options: Any) -> None:
        summary = summarise()
        figures = _figures(summary)
        if options["format"] == "json":
            self.stdout.write(json.dumps(figures))
        else:
            for name, value in figures.items():
                self.stdout.write(f"{name.replace('_', ' '):<20} {'–' if value is None else value}")
        code, sentence = _trouble(summary, max_age, max_failed)
        if code:
            self.stderr.write(sentence)
            sys.exit(code)


def tolerable(value: str) -> int:
    """Return a whole number below the limit of the count; for ``type=`` of an argument."""
    if not value.isdecimal() or int(value) >= COUNT_LIMIT:
        raise ArgumentTypeError(f"{value!r} is not a whole number from 0 to {COUNT_LIMIT - 1}.")
    return int(value)


def _figures(summary: Summary) -> dict[str, Any]:
    gate = summary.gate
    return {
        "pending": summary.pending,
        "sending": summary.sending,
        "failed": summary.failed,
        "oldest_due_seconds": round(summary.oldest_due_seconds, 1),
        "last_sent_at": summary.last_sent_at.isoformat() if summary.last_sent_at else None,
        "gate": str(gate),
        "gate_reason": gate.reason or None,
        "gate_response_code": gate.response_code,
        "gate_closed_since": gate.closed_at.isoformat() if gate.closed_at else None,
        "gate_closed_until": gate.closed_until.isoformat() if gate.closed_until else None,
    }


def _trouble(summary: Summary, max_age: int | None, max_failed: int | None) -> tuple[int, str]:
    gate = summary.gate
    if gate.is_closed and not gate.is_paused:
        return HELD_BACK, _("Sending is held back: %s.") % gate.get_reason_display()
    if max_age is not None and summary.oldest_due_seconds > max_age and not gate.is_paused:
        return TOO_OLD, _("An event has been due for %d seconds. Does anything deliver?") % summary.oldest_due_seconds
    if max_failed is not None and summary.failed > max_failed:
        return TOO_MANY_FAILED, _("%d events have failed. Look at them in the admin.") % summary.failed
    return 0, ""
