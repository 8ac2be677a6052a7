from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.health import COUNT_LIMIT, PAUSED, State, Summary, state, summarise
from brevo_events.management.arguments import positive
from brevo_events.management.outbox import OutboxCommand
from brevo_events.models import Gate

FAULTY, TOO_OLD, TOO_MANY_FAILED = 2, 3, 4


class Command(OutboxCommand):
    help = (
        "Show the delivery status. Exit codes: 0 if events are being sent, or an operator has paused delivery; 2 if "
        "nothing is being sent, because a setting is missing, a fault has put delivery on hold, or nothing is running; "
        "3 if an event has been due for longer than --max-age; 4 if more events have failed than --max-failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text", help="Use json for programs.")
        parser.add_argument("--max-age", type=positive, metavar="S", help="Exit 3 if an event has been due for longer.")
        parser.add_argument(
            "--max-failed", type=tolerable, metavar="N", help="Exit 4 if more events have failed; below 10,000."
        )

    def handle(self, *args: Any, max_age: int | None, max_failed: int | None, **options: Any) -> None:
        summary = summarise()
        now = state(summary.pulse)
        figures = _figures(summary, now)
        if options["format"] == "json":
            self.stdout.write(json.dumps(figures))
        else:
            for name, value in figures.items():
                self.stdout.write(f"{name.replace('_', ' '):<20} {'-' if value is None else value}")
        code, sentence = _trouble(summary, now, max_age, max_failed)
        if code:
            self.stderr.write(sentence)
            sys.exit(code)


def tolerable(value: str) -> int:
    """Return a whole number below the counting limit; for an argument's ``type=``."""
    if not value.isdecimal() or int(value) >= COUNT_LIMIT:
        raise ArgumentTypeError(f"{value!r} is not a whole number from 0 to {COUNT_LIMIT - 1}.")
    return int(value)


def _figures(summary: Summary, now: State) -> dict[str, Any]:
    gate = summary.pulse.gate
    return {
        "state": now.name,
        "pending": summary.pending,
        "sending": summary.sending,
        "failed": summary.failed,
        "oldest_due_seconds": round(summary.pulse.oldest_due_seconds, 1),
        "last_sent_at": summary.last_sent_at.isoformat() if summary.last_sent_at else None,
        "worker_seen_at": summary.pulse.worker_seen_at.isoformat() if summary.pulse.worker_seen_at else None,
        "gate": _word_for(gate),
        "gate_reason": gate.reason or None,
        "gate_response_code": gate.response_code,
        "gate_closed_since": gate.closed_at.isoformat() if gate.closed_at else None,
        "gate_closed_until": gate.closed_until.isoformat() if gate.closed_until else None,
        "gate_closed_by_event": gate.closed_by,
        "paused_by": (gate.paused_by or _("a command")) if gate.is_paused else None,
        "pause_reason": gate.pause_reason or None if gate.is_paused else None,
        "paused_since": gate.paused_at.isoformat() if gate.paused_at and gate.is_paused else None,
        "paused_until": gate.paused_until.isoformat() if gate.paused_until and gate.is_paused else None,
    }


def _word_for(gate: Gate) -> str:
    # For programs: these words don't change, whatever people are shown.
    return "paused" if gate.is_paused else "closed" if gate.is_closed else "open"


def _trouble(summary: Summary, now: State, max_age: int | None, max_failed: int | None) -> tuple[int, str]:
    if now.is_faulty:
        return FAULTY, f"{now.title} {now.explanation}"
    overdue = summary.pulse.oldest_due_seconds
    if max_age is not None and overdue > max_age and now.name != PAUSED:
        return TOO_OLD, _("An event has been due for %d seconds. Is anything sending?") % overdue
    if max_failed is not None and summary.failed > max_failed:
        text = ngettext(
            "%d event has failed. Look at it in the admin.",
            "%d events have failed. Look at them in the admin.",
            summary.failed,
        )
        return TOO_MANY_FAILED, text % summary.failed
    return 0, ""
