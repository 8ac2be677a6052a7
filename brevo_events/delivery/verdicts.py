from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from brevo_events.choices import GateReason, Reason, Status
from brevo_events.conf import settings
from brevo_events.delivery.attempts import Attempt
from brevo_events.models import Gate
from brevo_events.retry import Decision, Outcome, backoff, decide

OUTAGE_CONTACTS = 3

OUTAGE_WITHIN = 300  # seconds


class _Streak:
    """
    The contacts whose events failed one after the other, with no answer about an event between them.

    Each process counts for itself; the gate that it closes is everybody's. One
    contact alone may be a poison event in a quiet shop. What failed before the
    gate last turned, or long ago, shows nothing about now.
    """

    def __init__(self) -> None:
        self._failed_at: dict[str, float] = {}
        self._generation = 0

    def add(self, contact: str, generation: int) -> bool:
        """Return whether this failure makes it an outage."""
        now = time.monotonic()
        if generation != self._generation:
            self.clear()
        self._generation = generation
        self._failed_at[contact] = now
        self._failed_at = {name: at for name, at in self._failed_at.items() if now - at < OUTAGE_WITHIN}
        return len(self._failed_at) >= OUTAGE_CONTACTS

    def clear(self) -> None:
        """Begin anew, after an answer about an event."""
        self._failed_at = {}


_failing = _Streak()


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what an answer does to its event: events of like changes are written together."""

    status: Status
    reason: str = ""
    response_code: int | None = None
    counted: int = 0
    seconds: int = 0  # until it is due again
    due_at: datetime | None = None  # of what is given back: its old place in the line

    @property
    def is_final(self) -> bool:
        """Return whether the event has ended."""
        return self.status != Status.PENDING


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what an answer means, what it does to its event, and why it closes the gate, if it does."""

    decision: Decision
    change: Change
    closes: GateReason | None = None


def judge(attempts: list[Attempt]) -> dict[Attempt, Verdict]:
    """Return the verdict on each answer, in their order: from an outage on, no attempt is counted."""
    verdicts = {}
    is_counting = all(attempt.is_taken for attempt in attempts) or not Gate.load().is_closed
    for attempt in attempts:
        verdicts[attempt] = _verdict(attempt, is_counting)
        is_counting = is_counting and verdicts[attempt].closes != GateReason.OUTAGE
    return verdicts


def _verdict(attempt: Attempt, is_counting: bool) -> Verdict:
    if attempt.answer is None:
        decision = Decision(Outcome.HELD)
    else:
        decision = decide(attempt.answer, attempts=attempt.event.attempts, max_attempts=settings.MAX_ATTEMPTS)
    change = _change(attempt, decision, is_counting)
    if decision.is_about_event:
        _failing.clear()
    elif change.counted and _failing.add(attempt.event.contact, attempt.gate.generation):
        return Verdict(decision, change, GateReason.OUTAGE)
    return Verdict(decision, change, decision.gate_reason)


def _change(attempt: Attempt, decision: Decision, is_counting: bool) -> Change:
    code = attempt.answer.status if attempt.answer else attempt.event.response_code
    if attempt.is_refused:
        return Change(Status.CANCELLED, Reason.NO_CONSENT, code)
    match decision.outcome:
        case Outcome.SENT:
            return Change(Status.SENT, response_code=code, counted=1)
        case Outcome.REJECTED:
            return Change(Status.FAILED, Reason.REJECTED, code, counted=1)
        case Outcome.GAVE_UP if is_counting:
            return Change(Status.FAILED, Reason.GAVE_UP, code, counted=1)
    if decision.outcome == Outcome.HELD and not (attempt.is_postponed or (attempt.is_probe and attempt.answer)):
        # The gate holds it back, and whoever opens it wants it at once; or it has not begun.
        return Change(Status.PENDING, "", code, due_at=attempt.event.was_due_at)  # type: ignore[attr-defined]
    counted = int(decision.outcome != Outcome.HELD and is_counting)
    return Change(Status.PENDING, "", code, counted, round(_seconds_until_due(attempt, decision)))


def _seconds_until_due(attempt: Attempt, decision: Decision) -> float:
    wait = backoff(attempt.event.attempts + 1, settings.RETRY_BACKOFF)
    return max(wait, decision.delay or 0) if decision.outcome == Outcome.RETRY else wait
