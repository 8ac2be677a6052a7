from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import suppress

from django.db import Error as DatabaseError

from brevo_events import consent, transports
from brevo_events.conf import settings
from brevo_events.delivery.attempts import Attempt, Senders
from brevo_events.delivery.claims import claim, lease_seconds, seconds_left
from brevo_events.delivery.records import record
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.models import Gate, OutboxEvent, outbox

logger = logging.getLogger(__name__)

TICK = 0.2  # seconds between two looks at the deadlines of what is in flight
AHEAD = 20  # times CONCURRENCY, at most, that are claimed ahead of the threads
PATIENCE = 2.0  # seconds after the last answer in which rows that somebody else has locked are tried again
ANSWER_PATIENCE = 10.0  # seconds for those with an answer: unrecorded, the event would be sent twice
FRESH = 5.0  # seconds after the question for consent; later, a request does not begin, and it is asked again
QUICK, SLOW = 0.25, 1.0  # seconds in which half of what was claimed is sent

Delivered = Counter[str]
_busy = threading.local()


def deliver(*, limit: int | None = None, concurrency: int | None = None) -> Delivered:
    """
    Send what is due, at most ``limit`` events, and return how many ended in which status.

    Call it outside any transaction, which would stay open during the requests.
    Raises ``InvalidSetting`` where nothing could be sent; then nothing is
    claimed either. A call from within itself, by an observer, does nothing:
    the outer one goes on until nothing is due.
    """
    if getattr(_busy, "delivering", False):
        return Delivered()
    pipeline = Pipeline(limit=limit, concurrency=concurrency)
    _busy.delivering = True
    try:
        while not pipeline.is_stuck and pipeline.step():
            pass
    finally:
        pipeline.close()
        _busy.delivering = False
    return pipeline.delivered


class Pipeline:
    """
    Own the database for a delivery: claim, feed the senders, record what has come back.

    No step waits for all of what is in flight: while some requests fly, others
    are claimed and recorded. What is claimed ahead grows while the answers are
    quick, so that little waits behind slow ones.
    """

    def __init__(self, *, limit: int | None = None, concurrency: int | None = None) -> None:
        self.delivered = Delivered()
        self._left = limit
        self._concurrency = concurrency or settings.CONCURRENCY
        self._senders = Senders(concurrency=self._concurrency, deadline=settings.attempt_deadline)
        self._ahead = 2
        self._fed_at = time.monotonic()
        self._has_filled = False
        self._answered_at = time.monotonic()
        self._unrecorded: list[Attempt] = []

    def step(self) -> bool:
        """Do one round, and return whether there is more to do now."""
        try:
            self._feed()
        except InvalidSetting:
            # What has been sent already is recorded all the same.
            if self.is_empty:
                raise
        if self.is_empty:
            return False
        self._collect()
        return True

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is in flight or waits to be recorded."""
        return not self._senders and not self._unrecorded

    @property
    def is_stuck(self) -> bool:
        """Return whether for a while all that was left is locked by somebody else: the leases see to it."""
        if self._senders or not self._unrecorded:
            return False
        patience = ANSWER_PATIENCE if any(attempt.answer for attempt in self._unrecorded) else PATIENCE
        return time.monotonic() - self._answered_at > patience

    @property
    def is_exhausted(self) -> bool:
        """Return whether the limit is reached."""
        return self._left == 0 and self.is_empty

    def finish(self) -> None:
        """Give back at once what has not begun, then see what is in flight to its end."""
        self._unrecorded += self._senders.recall()
        self._record()
        while not self.is_empty and not self.is_stuck:
            self._collect()

    def close(self) -> None:
        """Let the threads end, and nothing more be sent."""
        self._senders.stop()

    def _collect(self) -> None:
        answered = self._senders.collect(TICK)
        if answered:
            self._answered_at = time.monotonic()
        self._unrecorded += answered
        self._record()

    def _feed(self) -> None:
        if self.is_empty and not outbox().due().exists():
            return
        gate = Gate.load()
        if not gate.is_open:
            self._unrecorded += self._senders.recall()
            room = int(not self._senders and self._left != 0 and self._may_probe(gate))
        else:
            room = self._room()
        if room == 0:
            return
        # Before the claim, so that nothing is claimed where nothing can be sent; again each time, since keys change.
        self._senders.transport = transports.current()
        asks_consent = settings.consent() is not None
        give_up_at = time.monotonic() + FRESH
        # A probe that the contact does not want sent shows nothing: then the next event does.
        while self._start(self._claim(room, gate), asks_consent) and gate.is_closed and self._left != 0:
            self._record()
            if time.monotonic() > give_up_at:
                return

    def _claim(self, room: int, gate: Gate) -> list[Attempt]:
        began = time.monotonic()
        attempts = [
            Attempt(event, gate, leased_until=began + lease_seconds(), start_before=began + seconds_left(event))
            for event in claim(room)
        ]
        self._has_filled = len(attempts) == room
        if self._left is not None:
            self._left -= len(attempts)
        if attempts and not gate.is_closed and not Gate.load().is_open:
            # Closed since it was looked at: these may be what another worker has just given back.
            self._unrecorded += attempts
            return []
        return attempts

    def _start(self, attempts: list[Attempt], asks_consent: bool) -> bool:
        """Start what the contacts consent to, and return whether there was something, and nobody did."""
        began = time.monotonic()
        for number, attempt in enumerate(attempts):
            if number and time.monotonic() - began > FRESH:
                # The leases must outlast the questions: the others are given back, and asked about in time.
                self._unrecorded += attempts[number:]
                break
            try:
                attempt.is_refused = asks_consent and not _consents(attempt.event)
            except Exception:
                # Nobody has said no: these are given back, at once if possible, since the caller may end here. This
                # one waits, or it would be the first again.
                attempt.is_postponed = True
                self._unrecorded += attempts[number:]
                with suppress(DatabaseError):
                    self.finish()
                raise
            if attempt.is_refused:
                self._unrecorded.append(attempt)
            else:
                attempt.start_before = min(attempt.start_before, time.monotonic() + FRESH)
                self._senders.start(attempt)
        return bool(attempts) and all(attempt.is_refused for attempt in attempts)

    def _room(self) -> int:
        """Return how many events to claim: none as long as the threads have enough to do."""
        capacity = self._ahead * self._concurrency
        held = len(self._senders) + len(self._unrecorded)
        if held > capacity // 2:
            return 0
        took, self._fed_at = time.monotonic() - self._fed_at, time.monotonic()
        if self._has_filled and took < QUICK:
            self._ahead = min(2 * self._ahead, AHEAD)
        elif took > SLOW:
            self._ahead = 2
        room = self._ahead * self._concurrency - held
        return room if self._left is None else min(room, self._left)

    def _may_probe(self, gate: Gate) -> bool:
        return not gate.is_paused and gate.is_probe_due and gate.win_probe()

    def _record(self) -> None:
        if not self._unrecorded:
            return
        locked = record(self._unrecorded)
        for attempt in set(self._unrecorded).difference(locked):
            if attempt.is_recorded and (attempt.answer or attempt.is_refused):
                self.delivered[attempt.event.status] += 1
            elif attempt.is_recorded and self._left is not None and not attempt.event.is_finished:
                self._left += 1
        self._unrecorded = locked


def _consents(event: OutboxEvent) -> bool:
    try:
        return consent.is_given(event.as_event())
    except InvalidEvent as error:
        # An older version may have kept what this one refuses; it must not hold up the others.
        logger.error("Nobody could be asked for consent to %s, which counts as no: %s", event, error)  # noqa: TRY400
        return False
