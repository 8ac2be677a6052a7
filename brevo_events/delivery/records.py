from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F

from brevo_events import signals
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.conf import settings
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.claims import begin_writing, free_followers, lock, outbox
from brevo_events.models import MAX_ERROR_LENGTH, Gate, OutboxEvent, SendAttempt
from brevo_events.retry import Answer, Decision, Outcome, backoff, decide

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what an answer does to its event: events of like changes are written together."""

    status: Status
    reason: str = ""
    response_code: int | None = None
    counted: int = 0
    seconds: int = 0  # until it is due again

    @property
    def is_final(self) -> bool:
        """Return whether the event has ended."""
        return self.status != Status.PENDING


def record(attempts: list[Attempt]) -> list[Attempt]:
    """
    Write down what has come back, and return what somebody else has locked.

    Only the holder of an event's lease may write: the answer of a worker that
    comes after its lease has run out is dropped, and logged.
    """
    decisions = {attempt: _decide(attempt) for attempt in attempts}
    with transaction.atomic(using=outbox().db, durable=True):
        begin_writing()
        mine, locked = _still_mine(attempts)
        changes = {attempt: _change(attempt, decisions[attempt]) for attempt in mine}
        _write(changes)
        SendAttempt._default_manager.using(outbox().db).bulk_create(
            [_row(attempt, attempt.answer) for attempt in mine if attempt.answer]
        )
        free_followers(attempt.event.pk for attempt, change in changes.items() if change.is_final)
    _turn_gate({attempt: decisions[attempt] for attempt in mine})
    _announce(changes)
    return locked


def _decide(attempt: Attempt) -> Decision:
    if attempt.answer is None:
        return Decision(Outcome.HELD)
    return decide(attempt.answer, attempts=attempt.event.attempts, max_attempts=settings.MAX_ATTEMPTS)


def _still_mine(attempts: list[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
    """Return whose rows are locked now and still leased to us, and whose rows somebody else has locked."""
    rows = outbox().filter(pk__in=[attempt.event.pk for attempt in attempts])
    tokens = dict(lock(rows).values_list("pk", "lease_token"))
    elsewhere = dict(rows.values_list("pk", "lease_token")) if len(tokens) < len(attempts) else {}
    mine, locked = [], []
    for attempt in attempts:
        pk, token = attempt.event.pk, attempt.event.lease_token
        if tokens.get(pk) == token:
            mine.append(attempt)
        elif pk not in tokens and elsewhere.get(pk) == token:
            locked.append(attempt)
        else:
            logger.warning("The answer to %s came after its lease had run out, and is dropped.", attempt.event)
    return mine, locked


def _change(attempt: Attempt, decision: Decision) -> Change:
    code = attempt.answer.status if attempt.answer else attempt.event.response_code
    match decision.outcome:
        case Outcome.SENT:
            return Change(Status.SENT, response_code=code, counted=1)
        case Outcome.REJECTED:
            return Change(Status.FAILED, Reason.REJECTED, code, counted=1)
        case Outcome.GAVE_UP if not attempt.is_probe:
            return Change(Status.FAILED, Reason.GAVE_UP, code, counted=1)
    counted = int(decision.outcome != Outcome.HELD and not attempt.is_probe)
    return Change(Status.PENDING, "", code, counted, round(_seconds_until_due(attempt, decision)))


def _seconds_until_due(attempt: Attempt, decision: Decision) -> float:
    if decision.outcome == Outcome.HELD and not (attempt.is_probe and attempt.answer):
        return 0  # the gate holds it back, and whoever opens it wants it at once
    wait = backoff(attempt.event.attempts + 1, settings.RETRY_BACKOFF)
    return max(wait, decision.delay or 0) if decision.outcome == Outcome.RETRY else wait


def _write(changes: dict[Attempt, Change]) -> None:
    alike: dict[Change, list[int]] = defaultdict(list)
    for attempt, change in changes.items():
        alike[change].append(attempt.event.pk)
    for change, pks in alike.items():
        when: dict[str, Any] = {"due_at": in_seconds(change.seconds)}
        if change.is_final:
            when = {"due_at": None, "finished_at": UtcNow()}
        outbox().filter(pk__in=pks).update(
            status=change.status,
            reason=change.reason,
            response_code=change.response_code,
            attempts=F("attempts") + change.counted,
            lease_token=None,
            **when,
        )


def _row(attempt: Attempt, answer: Answer) -> SendAttempt:
    return SendAttempt(
        event=attempt.event,
        started_at=attempt.started_at,
        duration_ms=round(answer.duration * 1000),
        response_code=answer.status,
        error=_storable(answer.code, MAX_ERROR_LENGTH),
        answer=_storable(answer.body, MAX_ANSWER_BYTES),
    )


def _storable(text: str, max_bytes: int) -> str:
    """Return what every database takes of a text that came from outside: no NUL, no lone surrogates, not too long."""
    return text.replace("\0", "\ufffd").encode(errors="replace")[:max_bytes].decode(errors="ignore")


def _turn_gate(decisions: dict[Attempt, Decision]) -> None:
    """Close the gate at the first answer that asks for it, and open it at a probe's answer about its event."""
    for attempt, decision in decisions.items():
        gate, status = attempt.gate, attempt.answer.status if attempt.answer else None
        if decision.gate_reason:
            is_news = gate.close(decision.gate_reason, status, decision.delay) and not gate.is_closed
            if is_news:
                logger.error("Sending is held back: %s (response code %s).", decision.gate_reason.label, status)
                signals.gate_closed.send_robust(Gate, gate=Gate.load())
        elif decision.is_about_event:
            if gate.open():
                logger.info("Sending goes on.")
                signals.gate_opened.send_robust(Gate, gate=Gate.load())
        elif attempt.is_probe and attempt.answer:
            gate.close(GateReason(gate.reason), status)


def _announce(changes: dict[Attempt, Change]) -> None:
    for attempt, change in changes.items():
        event = attempt.event
        event.status, event.reason, event.response_code = change.status, change.reason, change.response_code
        event.attempts += change.counted
        event.lease_token = None
        if change.status == Status.SENT:
            signals.event_sent.send_robust(OutboxEvent, event=event)
        elif change.status == Status.FAILED:
            logger.error("%s failed: %s (response code %s).", event, change.reason, change.response_code)
            signals.event_failed.send_robust(OutboxEvent, event=event)
