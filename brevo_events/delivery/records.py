from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Case, F, When
from django.dispatch import Signal

from brevo_events import signals
from brevo_events.choices import GateReason, Status
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.endings import free_followers, stale
from brevo_events.delivery.verdicts import Change, Verdict, judge
from brevo_events.models import MAX_ERROR_LENGTH, Gate, OutboxEvent, SendAttempt, outbox
from brevo_events.retry import Answer

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 2000


def record(attempts: list[Attempt]) -> list[Attempt]:
    """
    Write down what has come back, and return what must be recorded again, since somebody else has locked its rows.

    Only the holder of an event's lease may write: the answer of a worker that
    comes after its lease has run out is dropped, and logged.
    """
    with transaction.atomic(using=outbox().db, durable=True):
        outbox().begin_writing()
        mine, locked = _still_mine(attempts)
        verdicts = judge(mine)
        changes = _without_stale({attempt: verdict.change for attempt, verdict in verdicts.items()})
        _write(changes)
        SendAttempt._default_manager.using(outbox().db).bulk_create(
            [_row(attempt, attempt.answer) for attempt in mine if attempt.answer]
        )
        unfreed = free_followers(attempt.event.pk for attempt, change in changes.items() if change.is_final)
        turns = _turn_gate(verdicts)
    for attempt in mine:
        attempt.is_recorded = True
    _announce(changes, unfreed)
    for turn in turns:
        turn.send_robust(Gate, gate=Gate.load())
    return locked


def _still_mine(attempts: list[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
    """Return whose rows are locked now and still leased to us, and whose rows somebody else has locked."""
    rows = outbox().filter(pk__in=[attempt.event.pk for attempt in attempts])
    tokens = {pk: event.lease_token for pk, event in outbox().lock_by_key(a.event.pk for a in attempts).items()}
    elsewhere = dict(rows.values_list("pk", "lease_token")) if len(tokens) < len(attempts) else {}
    mine, locked = [], []
    for attempt in attempts:
        pk, token = attempt.event.pk, attempt.event.lease_token
        if tokens.get(pk) == token:
            mine.append(attempt)
        elif pk not in tokens and elsewhere.get(pk) == token:
            locked.append(attempt)
        else:
            what = "answer to" if attempt.answer else "lease of"
            logger.warning("The %s %s came back after its lease had run out, and is dropped.", what, attempt.event)
    return mine, locked


def _without_stale(changes: dict[Attempt, Change]) -> dict[Attempt, Change]:
    """Cancel what would be put back although it has expired, or a newer event has superseded it."""
    reasons = stale(attempt.event.pk for attempt, change in changes.items() if change.status == Status.PENDING)
    return {
        attempt: replace(change, status=Status.CANCELLED, reason=reasons[attempt.event.pk])
        if attempt.event.pk in reasons
        else change
        for attempt, change in changes.items()
    }


def _write(changes: dict[Attempt, Change]) -> None:
    alike: dict[Change, list[int]] = defaultdict(list)
    for attempt, change in changes.items():
        alike[change].append(attempt.event.pk)
    for change, pks in alike.items():
        when: dict[str, Any] = {"due_at": change.due_at or _due(change.seconds)}
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


def _due(seconds: int) -> Case:
    # What expires meanwhile ends then, or what waits behind it would wait for nothing.
    due = in_seconds(seconds)
    return Case(When(expires_at__lt=due, then=F("expires_at")), default=due)


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


def _turn_gate(verdicts: dict[Attempt, Verdict]) -> list[Signal]:
    """Close the gate at the first answer that asks for it, open it at a probe's answer; return what to tell."""
    turns = []
    for attempt, verdict in verdicts.items():
        gate, status = attempt.gate, attempt.answer.status if attempt.answer else None
        if verdict.closes:
            is_news = gate.close(verdict.closes, status, verdict.decision.delay) and not gate.is_closed
            if is_news:
                logger.error("Sending is held back: %s (response code %s).", verdict.closes.label, status)
                turns.append(signals.gate_closed)
        elif verdict.decision.is_about_event:
            if gate.open():
                logger.info("Sending goes on.")
                turns.append(signals.gate_opened)
        elif attempt.is_probe and attempt.answer:
            gate.close(GateReason(gate.reason), status)
    return turns


def _announce(changes: dict[Attempt, Change], unsettled: set[int]) -> None:
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
        elif change.status == Status.CANCELLED and event.pk not in unsettled:
            # The others are announced by whoever settles them.
            signals.event_cancelled.send_robust(OutboxEvent, event=event)
