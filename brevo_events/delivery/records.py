"""Recording answers, which only the holder of a lease may do."""

from __future__ import annotations

import logging
import operator
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError

from brevo_events import signals
from brevo_events.answers import Answer
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.conf import settings
from brevo_events.delivery import breaker, statements
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.line import release
from brevo_events.delivery.obsolete import Notify, reasons_to_end
from brevo_events.delivery.transactions import own_transaction
from brevo_events.models import MAX_ERROR_LENGTH, Gate, OutboxEvent
from brevo_events.retry import Verdict, backoff, decide, is_failure

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 2000
AT_ONCE = 500  # attempts in one INSERT


class Recorded(NamedTuple):
    """
    The result of a record.

    ``left`` couldn't be written, because the rows are locked elsewhere.
    ``has_more`` if recording the rest may have made an event due now,
    ``is_closing`` if an answer asked for the gate to close, and
    ``is_gate_locked`` if it couldn't be turned.
    """

    left: list[Attempt]
    has_more: bool = False
    is_closing: bool = False
    is_gate_locked: bool = False


def record(attempts: list[Attempt], notify: Notify = operator.call) -> Recorded:
    """
    Record answers.

    Only the holder of an event's lease may write: an answer that arrives after
    the lease has run out is dropped and logged. Observers are called through
    ``notify``, after the commit.
    """
    if not attempts:
        return Recorded([])
    try:
        return _record(attempts, notify)
    except (DataError, IntegrityError):
        # An answer that the database rejects must not keep the others from being recorded.
        if len(attempts) == 1:
            return _record([_without_its_text(attempts[0])], notify)
    each = [record([attempt], notify) for attempt in attempts]
    return Recorded(
        [attempt for one in each for attempt in one.left],
        any(one.has_more for one in each),
        any(one.is_closing for one in each),
        any(one.is_gate_locked for one in each),
    )


class _Row(NamedTuple):
    token: str | None
    reason: str


def _record(attempts: list[Attempt], notify: Notify) -> Recorded:
    using = OutboxEvent.objects.db
    with own_transaction(using):
        rows, closed_for = _lock(using, attempts)
        mine, left, lost = _sorted(using, attempts, rows)
        verdicts = _judge(mine, rows, is_closed=closed_for is not None)
        steps = list(breaker.steps(verdicts, closed_for))
        if is_gate_locked := bool(steps) and not Gate.lock_free():
            # A user is pausing delivery, perhaps. Waiting could deadlock, and a later answer will ask for the same.
            steps = []
            for attempt, verdict in verdicts.items():
                attempt.is_disregarded = verdict.closes is not None
        _write(using, verdicts)
        _insert_attempts(using, [attempt for attempt in mine if attempt.answer])
        ended = {a.event.pk: a.event.contact for a, verdict in verdicts.items() if verdict.status != Status.PENDING}
        locked_out, is_released = release(ended)
        turns = [turn for step in steps for turn in step()]
    for attempt, verdict in verdicts.items():
        _update(attempt, verdict)
    if lost:
        notify(partial(_log_lost, lost))
    if turns:
        notify(partial(breaker.announce, turns))
    if ended:
        _announce([attempt.event for attempt in verdicts if attempt.event.is_finished], locked_out, notify)
    is_closing = any(verdict.closes for verdict in verdicts.values())
    return Recorded(left, is_released or len(ended) < len(verdicts), is_closing, is_gate_locked)


def _lock(using: str, attempts: list[Attempt]) -> tuple[dict[int, _Row], str | None]:
    keys = statements.keys(using, [attempt.event.pk for attempt in attempts])
    found = statements.rows(using, statements.of(using).lock, [keys])
    return {pk: _Row(token, reason) for pk, token, reason, _ in found}, found[0][-1] if found else None


def _sorted(
    using: str, attempts: list[Attempt], rows: dict[int, _Row]
) -> tuple[list[Attempt], list[Attempt], list[Attempt]]:
    """Return the attempts whose rows we have locked and still lease, those locked elsewhere, and the others."""
    missing = [attempt.event.pk for attempt in attempts if attempt.event.pk not in rows]
    elsewhere = dict(OutboxEvent.objects.filter(pk__in=missing).values_list("pk", "lease_token")) if missing else {}
    mine, left, lost = [], [], []
    for attempt in attempts:
        pk, token = attempt.event.pk, attempt.event.lease_token
        if pk in rows and rows[pk].token == token:
            mine.append(attempt)
        elif pk not in rows and elsewhere.get(pk) == token:
            left.append(attempt)
        else:
            lost.append(attempt)
    return mine, left, lost


def _judge(attempts: list[Attempt], rows: dict[int, _Row], *, is_closed: bool) -> dict[Attempt, Verdict]:
    """Return the verdict on each answer, in order; once there is an outage, no attempt is counted."""
    verdicts: dict[Attempt, Verdict] = {}
    streak: breaker.Streak | None = None
    is_counting = not is_closed
    for attempt in attempts:
        verdict = _verdict(attempt, is_counting)
        if verdict.is_about_event:
            if streak:
                streak.end()
        elif verdict.is_counted and attempt.answer and is_failure(attempt.answer.status):
            streak = streak or breaker.Streak.load()
            streak.add(attempt.event.contact)
            if streak.is_outage:
                verdict, is_counting = verdict._replace(closes=GateReason.OUTAGE), False
        verdicts[attempt] = verdict
    return _without_obsolete(verdicts, rows)


def _verdict(attempt: Attempt, is_counting: bool) -> Verdict:
    event = attempt.event
    if attempt.is_refused:
        return Verdict(Status.CANCELLED, Reason.NO_CONSENT)
    if attempt.is_postponed:
        return Verdict(Status.PENDING, delay=backoff(event.attempts + 1, settings.RETRY_BACKOFF))
    if attempt.answer is None:
        return Verdict(Status.PENDING)
    return decide(
        attempt.answer,
        attempts=event.attempts,
        max_attempts=settings.MAX_ATTEMPTS,
        first_backoff=settings.RETRY_BACKOFF,
        last_code=event.response_code,
        is_probe=attempt.is_probe,
        is_counting=is_counting,
    )


def _without_obsolete(verdicts: dict[Attempt, Verdict], rows: dict[int, _Row]) -> dict[Attempt, Verdict]:
    """Cancel events that would be put back although they have expired or a newer one has replaced them."""
    suspects = [a.event.pk for a, v in verdicts.items() if v.status == Status.PENDING and _may_be_obsolete(a, rows)]
    if not suspects:
        return verdicts
    reasons = reasons_to_end(suspects)
    return {
        a: v._replace(status=Status.CANCELLED, reason=reasons[a.event.pk]) if a.event.pk in reasons else v
        for a, v in verdicts.items()
    }


def _may_be_obsolete(attempt: Attempt, rows: dict[int, _Row]) -> bool:
    return bool(attempt.may_become_obsolete or rows[attempt.event.pk].reason)


def _write(using: str, verdicts: dict[Attempt, Verdict]) -> None:
    """Update events with equal outcomes together."""
    alike: dict[tuple[str, tuple[Any, ...]], list[int]] = defaultdict(list)
    for attempt, verdict in verdicts.items():
        alike[_step(using, attempt, verdict)].append(attempt.event.pk)
    for (statement, values), pks in alike.items():
        statements.changed(using, statement, [*values, statements.keys(using, pks)])


def _step(using: str, attempt: Attempt, verdict: Verdict) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that a verdict requires, and its values."""
    said, code = statements.of(using), _response_code(attempt)
    if verdict.status != Status.PENDING:
        failing = _failing(attempt if verdict.status == Status.FAILED else None)
        return said.end, (verdict.status.value, str(verdict.reason), code, int(verdict.is_counted), *failing)
    failing = _failing(attempt)
    if verdict.delay is None and attempt.was_due_at is not None:
        return said.give_back, (code, attempt.was_due_at, *failing)
    seconds = round(verdict.delay or 0)
    return said.put_back, (code, int(verdict.is_counted), seconds, seconds, *failing)


def _failing(attempt: Attempt | None) -> tuple[str | None, int]:
    fingerprint = attempt.answer.fingerprint if attempt and attempt.answer else None
    return fingerprint, int(fingerprint is not None)


def _response_code(attempt: Attempt) -> int | None:
    return attempt.answer.status if attempt.answer and not attempt.is_disregarded else attempt.event.response_code


def _insert_attempts(using: str, attempts: list[Attempt]) -> None:
    said = statements.of(using)
    for start in range(0, len(attempts), AT_ONCE):
        rows = [_row(attempt, attempt.answer) for attempt in attempts[start : start + AT_ONCE] if attempt.answer]
        statement = said.insert_attempts + ", ".join([said.one_attempt] * len(rows))
        statements.changed(using, statement, [value for row in rows for value in row])


def _row(attempt: Attempt, answer: Answer) -> tuple[Any, ...]:
    return (
        attempt.event.pk,
        -round(attempt.age, 3),
        round(answer.duration * 1000),
        answer.status,
        _storable(answer.code, MAX_ERROR_LENGTH),
        _storable(answer.body, MAX_ANSWER_BYTES),
    )


def _storable(text: str, max_bytes: int) -> str:
    """Return the part of a foreign text that every database accepts: no NUL, no lone surrogates, not too long."""
    return text.replace("\0", "\ufffd").encode(errors="replace")[:max_bytes].decode(errors="ignore") if text else text


def _without_its_text(attempt: Attempt) -> Attempt:
    attempt.answer = Answer(None, "The database refused the answer.", error="transport")
    return attempt


def _update(attempt: Attempt, verdict: Verdict) -> None:
    event = attempt.event
    event.response_code = _response_code(attempt)
    event.status, event.reason, event.lease_token = verdict.status, verdict.reason, None
    event.attempts += verdict.is_counted
    attempt.is_recorded = True


def _log_lost(attempts: Iterable[Attempt]) -> None:
    for attempt in attempts:
        what = "answer to" if attempt.answer else "lease of"
        logger.warning("The %s %s came back after its lease had run out, and is dropped.", what, attempt.event)


def _announce(events: Iterable[OutboxEvent], locked_out: set[int], notify: Notify) -> None:
    """Log failures and notify observers, except about cancelled events that have yet to be settled."""
    for event in events:
        signal = _SIGNALS[Status(event.status)]
        is_unsettled = event.status == Status.CANCELLED and event.pk in locked_out
        if not is_unsettled and (event.status == Status.FAILED or signal.has_listeners(OutboxEvent)):
            notify(partial(_tell, event))


def _tell(event: OutboxEvent) -> None:
    if event.status == Status.FAILED:
        logger.error("%s failed: %s (%s).", event, event.reason, event.response_code or "no answer")
    _SIGNALS[Status(event.status)].send_robust(OutboxEvent, event=event)


_SIGNALS = {
    Status.SENT: signals.event_sent,
    Status.FAILED: signals.event_failed,
    Status.CANCELLED: signals.event_cancelled,
}
