"""The circuit breaker: which answers close the gate, and which open it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from django.dispatch import Signal

from brevo_events import signals
from brevo_events.choices import GateReason
from brevo_events.delivery import statements
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.transactions import own_transaction
from brevo_events.models import Gate, OutboxEvent
from brevo_events.retry import Verdict, is_failure

logger = logging.getLogger(__name__)

CONTACTS = 3  # a single contact may just be a poison event in a quiet shop
ANSWERS = 16  # in a row, if Brevo accepted an event only moments ago: some of its servers may be failing
RECENT = 10  # seconds
WITHIN = 300  # seconds; older failures say nothing about the present
PROBES = 3  # after each cool-down; a single event might be one that always fails


@dataclass(slots=True)
class Streak:
    """
    The latest consecutive failures, of all processes.

    It is computed from the recorded attempts when an answer is a failure, so
    that no process has to remember anything.
    """

    contacts: list[str] = field(default_factory=list)
    seconds_since_success: float | None = None

    @classmethod
    def load(cls) -> Streak:
        """Return the streak before the answers that are being recorded."""
        using, streak = OutboxEvent.objects.db, cls()
        for code, contact, age in statements.rows(using, statements.of(using).last_answers, [2 * ANSWERS]):
            failed = is_failure(code)
            if age > WITHIN:
                break
            if failed is False:
                streak.seconds_since_success = age
                break
            if failed:
                streak.contacts.append(contact)
        return streak

    def add(self, contact: str) -> None:
        """Count a failure."""
        self.contacts.append(contact)

    def end(self) -> None:
        """Start again from zero, after an answer about an event."""
        self.contacts, self.seconds_since_success = [], 0.0

    @property
    def is_outage(self) -> bool:
        """Whether several contacts failed without a recent success, over enough answers to tell."""
        is_recent = self.seconds_since_success is not None and self.seconds_since_success < RECENT
        return len(set(self.contacts)) >= CONTACTS and (not is_recent or len(self.contacts) >= ANSWERS)


@dataclass(slots=True)
class Probe:
    """The few requests after a cool-down that test whether the gate can open."""

    gate: Gate
    is_won: bool = False

    @property
    def size(self) -> int:
        """How many events to send: one if the key or the URL is wrong, otherwise a few."""
        return 1 if self.gate.reason == GateReason.ACCOUNT else PROBES

    def win(self) -> bool:
        """Return whether this caller, among all processes, may make these requests."""
        if not self.is_won:
            with own_transaction(OutboxEvent.objects.db):
                self.is_won = Gate.lock_free() and self.gate.win_probe()
        return self.is_won


Turn = tuple[Signal, Gate]


def steps(verdicts: dict[Attempt, Verdict], closed_for: str | None) -> Iterator[Callable[[], list[Turn]]]:
    """
    Yield what closes or opens the gate as the answers require; each step returns the signals to send.

    ``closed_for`` is the reason why it is closed now. Any answer about an event
    opens it, even an answer to a request from before it closed, but the wait
    that a 429 asked for is never cut short.
    """
    for attempt, verdict in verdicts.items():
        if verdict.closes:
            yield partial(_close, attempt, verdict, verdict.closes)
            closed_for = verdict.closes
        elif verdict.is_about_event:
            if closed_for is not None and (attempt.is_probe or closed_for != GateReason.THROTTLED):
                yield partial(_open, attempt)
                closed_for = None
        elif attempt.is_probe and attempt.answer:
            yield partial(_keep_closed, attempt, attempt.answer.status)


def _keep_closed(attempt: Attempt, status: int | None) -> list[Turn]:
    attempt.gate.close(GateReason(attempt.gate.reason), status, event=attempt.event.pk)
    return []


def _close(attempt: Attempt, verdict: Verdict, reason: GateReason) -> list[Turn]:
    status = attempt.answer.status if attempt.answer else None
    is_closed = attempt.gate.close(reason, status, verdict.hold, event=attempt.event.pk)
    return [(signals.gate_closed, Gate.load())] if is_closed and not attempt.is_probe else []


def _open(attempt: Attempt) -> list[Turn]:
    return [(signals.gate_opened, Gate.load())] if Gate.load().open(event=attempt.event.pk) else []


def announce(turns: Iterable[Turn]) -> None:
    """Log and signal that the gate has closed or opened, after the commit."""
    for signal, gate in turns:
        if signal is signals.gate_closed:
            logger.error("Delivery is on hold: %s.", gate.cause)
        else:
            logger.info("Delivery goes on.")
        signal.send_robust(Gate, gate=gate)
