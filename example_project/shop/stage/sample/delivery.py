"""The made-up fate of the events: rows as delivery would have left them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, count, repeat

from django.utils import timezone

from brevo_events.answers import Answer
from brevo_events.choices import GateReason, InterruptionEnd, InterruptionKind
from brevo_events.models import Interruption, OutboxEvent, Reason, SendAttempt, Status
from brevo_events.retry import MAX_BACKOFF
from shop.stage.sample.visits import CAMPAIGN, Captured

MAX_ATTEMPTS = 12
RETRY_BACKOFF = 30  # seconds
THROTTLE = 60  # seconds
USUALLY = 0.11  # seconds that Brevo takes to answer
SOONEST_RETRY = timedelta(minutes=3)  # from now, so that the shop doesn't start with a burst

# Brevo was down on the evening of the newsletter: some failures closed the gate, then one event at a time probed.
OUTAGE_BEGINS = timedelta(hours=19, minutes=12)
OUTAGE_LASTS = timedelta(minutes=70)
FAILURES_BEFORE_GATE = 4
PROBES = (20, 50, 110, 230, *range(530, 4200, 300))  # seconds after its start
CALLED_OFF = 5  # one in this many waiting events that were not superseded was cancelled by an operator


@dataclass(frozen=True)
class Reply:
    """An answer, or what prevented it."""

    code: int | None
    error: str = ""
    message: str = ""
    seconds: float = 0.0  # that it took; 0 for the usual time
    is_counted: bool = True

    @property
    def body(self) -> str:
        """The text of the answer."""
        return json.dumps({"code": self.error, "message": self.message}) if self.code and self.error else self.message


TAKEN = Reply(204)
BLOCKLISTED = Reply(400, "invalid_parameter", "Contact is blocklisted")
TOO_MANY_PIECES = Reply(400, "out_of_range", "eventdata.data.items[0].quantity is out of range")
BROKEN = Reply(500, "internal_error", "Something went wrong on our side")
AWAY = Reply(503, "", "Service Unavailable", 0.03)
PROBED = Reply(503, "", "Service Unavailable", 0.04, is_counted=False)
LATE = Reply(None, "timeout", "No answer came within 10 seconds.", 10.0)
TOO_FAST = Reply(429, "too_many_requests", "Too many requests", 0.02, is_counted=False)

# How often, in a thousand events, and the successive answers; the last one is repeated.
TROUBLES = (
    (6, (TOO_MANY_PIECES,)),
    (9, (BROKEN, TAKEN)),
    (5, (LATE, TAKEN)),
    (2, (BROKEN, BROKEN, LATE, TAKEN)),
    (4, (TOO_FAST, TAKEN)),
    (1, (BROKEN,)),
)
BLOCKLISTED_NAMES = ("hugo.costa@", "odile.keller@")


class Delivery:
    """Turns captured events, oldest first, into rows of the outbox and their attempts."""

    def __init__(self, chance: random.Random, now: datetime) -> None:
        self.chance, self.now = chance, now
        self.events: list[OutboxEvent] = []
        self.attempts: list[SendAttempt] = []
        midnight = timezone.localtime(now - CAMPAIGN).replace(hour=0, minute=0, second=0, microsecond=0)
        self._outage_begins = midnight + OUTAGE_BEGINS
        self._outage_ends = self._outage_begins + OUTAGE_LASTS
        self._held: list[OutboxEvent] = []
        self._outage: list[OutboxEvent] = []
        self._latest: dict[str, OutboxEvent] = {}

    def add(self, captured: Captured) -> None:
        """Add one event with its attempts up to now."""
        event = OutboxEvent.of(captured.event)
        event.created_at = event.available_at = event.due_at = captured.at
        self.events.append(event)
        if captured.at >= self._outage_ends:
            self._end_outage()
        ahead = self._latest.get(event.contact)
        self._latest[event.contact] = event
        if self._outage_begins <= captured.at < self._outage_ends:
            self._held.append(event)
        elif ahead and ahead.finished_at is None:
            event.parked, event.due_at = True, self.now + SOONEST_RETRY
        else:
            begin = max(captured.at, ahead.finished_at) if ahead and ahead.finished_at else captured.at
            self._send(event, begin + timedelta(milliseconds=self.chance.randint(3, 30)), self._replies(captured))

    def hold(self) -> Interruption:
        """Return the outage's entry in the log of holds; the events must already have their keys."""
        closing = self._outage[FAILURES_BEFORE_GATE - 1]
        return Interruption(
            kind=InterruptionKind.HOLD,
            reason=GateReason.OUTAGE,
            response_code=AWAY.code,
            event=closing.pk,
            began_at=closing.created_at,
            ended_at=self._outage_ends,
            end=InterruptionEnd.ANSWER,
            unfinished=len(self._outage),
        )

    def _replies(self, captured: Captured) -> Iterator[Reply]:
        if captured.is_stuck or captured.is_smooth:
            return repeat(BROKEN if captured.is_stuck else TAKEN)
        if captured.event.email.startswith(BLOCKLISTED_NAMES):
            return repeat(BLOCKLISTED)
        roll = self.chance.uniform(0, 1000)
        for share, replies in TROUBLES:
            roll -= share
            if roll < 0:
                return chain(replies, repeat(replies[-1]))
        return repeat(TAKEN)

    def _send(self, event: OutboxEvent, moment: datetime, replies: Iterator[Reply]) -> None:
        for reply in replies:
            if moment > self.now:
                event.due_at = max(moment, self.now + SOONEST_RETRY)
                return
            moment = self._attempt(event, moment, reply)
            if event.finished_at:
                return
            wait = min(RETRY_BACKOFF * 2 ** (event.attempts - 1), MAX_BACKOFF) if reply.is_counted else THROTTLE
            moment += timedelta(seconds=wait * self.chance.uniform(0.75, 1))

    def _attempt(self, event: OutboxEvent, moment: datetime, reply: Reply) -> datetime:
        """Make one request, and return when it ended."""
        seconds = reply.seconds or self._usual_seconds(moment)
        answered = moment + timedelta(seconds=seconds)
        row = SendAttempt(event=event, started_at=moment, duration_ms=round(seconds * 1000))
        row.response_code, row.error, row.answer = reply.code, reply.error, reply.body
        self.attempts.append(row)
        event.response_code = reply.code
        event.failure = Answer(reply.code, reply.body, error="" if reply.code else reply.error).fingerprint
        event.failed_at = answered if event.failure else None
        event.attempts += reply.is_counted
        if reply is TAKEN:
            _finish(event, Status.SENT, "", answered)
        elif reply.code == 400:
            _finish(event, Status.FAILED, Reason.REJECTED, answered)
        elif event.attempts >= MAX_ATTEMPTS:
            _finish(event, Status.FAILED, Reason.GAVE_UP, answered)
        return answered

    def _usual_seconds(self, moment: datetime) -> float:
        is_ailing = timedelta() < self._outage_begins - moment < timedelta(minutes=40)
        return self.chance.lognormvariate(0, 0.4) * USUALLY * (7 if is_ailing else 1)

    def _end_outage(self) -> None:
        """Release the waiting events: of each cart, only the newest is still worth sending."""
        held, self._held = self._held, []
        self._outage += held
        newest = {event.object_id: event for event in held}
        probes = [self._outage_begins + timedelta(seconds=seconds) for seconds in PROBES]
        sent_at, remaining = self._outage_ends, count(1)
        for number, event in enumerate(held):
            probes = [moment for moment in probes if moment > event.created_at]
            if number < FAILURES_BEFORE_GATE:
                self._attempt(event, event.created_at + timedelta(milliseconds=10), AWAY)
            elif probes:
                self._attempt(event, probes.pop(0), PROBED)
            if (successor := newest[event.object_id]) is not event:
                _finish(event, Status.CANCELLED, Reason.SUPERSEDED, max(sent_at, successor.created_at))
            elif next(remaining) % CALLED_OFF == 0:
                _finish(event, Status.CANCELLED, Reason.OPERATOR, self._outage_ends)
            else:
                sent_at = self._attempt(event, sent_at + timedelta(milliseconds=20), TAKEN)


def _finish(event: OutboxEvent, status: Status, reason: str, at: datetime) -> None:
    event.status, event.reason, event.finished_at, event.due_at = status, reason, at, None
    if status != Status.FAILED:
        event.failure = event.failed_at = None
