from __future__ import annotations

import logging
import operator
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from django.db import DataError, IntegrityError, ProgrammingError, connections
from django.db import Error as DatabaseError

from brevo_events import consent, transports
from brevo_events.clock import boottime
from brevo_events.conf import settings
from brevo_events.connections import release_connection
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.breaker import Probe
from brevo_events.delivery.claims import Claim, claim
from brevo_events.delivery.obsolete import Notify
from brevo_events.delivery.records import record
from brevo_events.delivery.senders import Senders
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.models import Gate, OutboxEvent
from brevo_events.transports import Transport

logger = logging.getLogger(__name__)

TICK = 0.2  # seconds between checks of the deadlines of requests in flight
GATHER = 0.02  # seconds to wait for further answers, to record them together
GATE_TICK = 1.0  # seconds between checks of the gate while nothing is claimed
MAX_AHEAD = 20  # times CONCURRENCY: events claimed ahead of the threads
QUICK, SLOW = 0.25, 1.0  # seconds for sending half of the claimed events
CONSENT_TTL = 5.0  # seconds that consent is valid; if a request begins later, CONSENT is called again first
PATIENCE = 2.0  # seconds after the last record during which rows locked elsewhere are retried
ANSWER_PATIENCE = 10.0  # the same for rows with an answer: without a record, the event would be sent twice
RESCUES = 5  # attempts to record answers when the database fails
RESCUE_PAUSE = 1.0  # seconds between them

Delivered = Counter[str]
_busy = threading.local()


def deliver(*, limit: int | None = None, concurrency: int | None = None) -> Delivered:
    """
    Send due events, at most ``limit``, and return how many ended in which status.

    Call it outside any transaction, which would stay open during the requests.
    Raises ``InvalidSetting`` if nothing could be sent; then nothing is claimed
    either. If an observer calls it during a delivery, it does nothing: the
    outer call goes on until nothing is due.
    """
    if getattr(_busy, "pipeline", None):
        _busy.pipeline.wake()
        return Delivered()
    pipeline = _busy.pipeline = Pipeline(limit=limit, concurrency=concurrency)
    try:
        while not pipeline.is_stuck and pipeline.step():
            pass
    except DatabaseError:
        pipeline.rescue()
        raise
    finally:
        _busy.pipeline = None
        pipeline.close()
    return pipeline.delivered


class Pipeline:
    """
    The owner of the database in a delivery: it claims events, feeds the senders, and records answers.

    No step waits for all requests in flight; other events are claimed and
    recorded meanwhile. It claims further ahead while answers are fast, so that
    few events wait behind slow ones. Observers are called through ``notify``.
    """

    def __init__(
        self, *, limit: int | None = None, concurrency: int | None = None, notify: Notify = operator.call
    ) -> None:
        self.delivered = Delivered()
        self._left = limit
        self._concurrency = concurrency or settings.CONCURRENCY
        self._senders = Senders(concurrency=self._concurrency, deadline=settings.attempt_deadline)
        self._notify = notify
        self._transport = Transport()
        self._asks_consent = False
        self._ahead = 2
        self._fed_at = boottime()
        self._has_filled = False
        self._is_drained = False
        self._is_unfinished = False
        self._looked_at = self._held_until = 0.0
        self._unrecorded: list[Attempt] = []
        self._locked_since = 0.0  # since when only rows locked elsewhere are left to record; 0 if there are none

    def step(self) -> bool:
        """Do one round, and return whether there is more to do now."""
        if self.is_empty and self._is_drained:
            self._is_drained = False
            return False
        try:
            self._feed()
        except InvalidSetting:
            # Events that were already sent are still recorded.
            if self.is_empty:
                raise
        if self.is_empty:
            self._is_drained = False  # the next step, perhaps much later, has to look again
            return self._is_unfinished
        self._collect()
        return True

    def wake(self) -> None:
        """Look for due events once more before ending."""
        self._is_drained = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in flight or waiting to be recorded."""
        return not self._senders and not self._unrecorded

    @property
    def in_flight(self) -> int:
        """How many events are being sent, or waiting for a free thread."""
        return len(self._senders)

    @property
    def is_stuck(self) -> bool:
        """Whether all remaining rows have been locked elsewhere for too long; their leases will run out anyway."""
        if self._senders or not self._unrecorded:
            return False
        patience = ANSWER_PATIENCE if any(attempt.answer for attempt in self._unrecorded) else PATIENCE
        return self._locked_since > 0 and boottime() - self._locked_since > patience

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit has been reached."""
        return self._left == 0 and self.is_empty

    def give_back(self) -> None:
        """Give back the events that haven't been started."""
        self._unrecorded += self._senders.recall()
        self._record()

    def finish(self) -> None:
        """Give back at once the events that haven't been started, then wait for the requests in flight."""
        self.give_back()
        while not self.is_empty and not self.is_stuck:
            self._collect()

    def rescue(self) -> None:
        """Record the answers although the database has just failed; it may be available again."""
        for _ in range(RESCUES):
            try:
                return self.finish()
            except DatabaseError:
                connections.close_all()
                time.sleep(RESCUE_PAUSE)
        return None

    def close(self) -> None:
        """End the threads, and send nothing more."""
        self._senders.stop()

    def _collect(self) -> None:
        release_connection()
        self._unrecorded += self._senders.collect(TICK, gather=GATHER)
        if self._senders.is_held:
            # None of these may be started between the record and the next check of the gate.
            self._unrecorded += self._senders.recall()
        self._record()

    def _feed(self) -> None:
        room, now = self._room(), boottime()
        if (room == 0 and now - self._looked_at < GATE_TICK) or now < self._held_until:
            return
        self._looked_at, self._is_unfinished = now, False
        if room == 0:
            if not Gate.load().is_open:
                self._hold()
            return
        found = claim(room, ready=self._get_ready, notify=self._notify)
        if found.is_held:
            self._hold()
        else:
            self._take(found, room)

    def _get_ready(self) -> None:
        """Raise ``InvalidSetting`` before anything is claimed. Checked each time, because a key may change."""
        self._transport = transports.current()
        self._asks_consent = settings.consent() is not None

    def _take(self, found: Claim, room: int) -> bool:
        """Start the claimed events, and return whether there was anything to send."""
        self._has_filled = len(found.attempts) == room
        self._is_drained, self._is_unfinished = found.is_all, found.is_unfinished
        if self._left is not None:
            self._left -= len(found.attempts)
        return self._start(found.attempts)

    def _hold(self) -> None:
        """Give back the events not yet started, because the gate isn't open, and probe if it is time."""
        self._unrecorded += self._senders.recall()
        if self._senders or self._left == 0:
            return
        gate = Gate.load()
        if gate.is_probe_due and not gate.is_paused:
            self._probe(Probe(gate))
        elif not gate.is_open:
            self._held_until = boottime() + min(gate.seconds_until_probe or GATE_TICK, GATE_TICK)

    def _probe(self, probe: Probe) -> None:
        give_up_at = boottime() + CONSENT_TTL
        while self._left != 0 and boottime() < give_up_at:
            room = probe.size if self._left is None else min(probe.size, self._left)
            found = claim(room, probe=probe, ready=self._get_ready, notify=self._notify)
            self._is_unfinished = found.is_unfinished
            if not found.attempts or self._take(found, room):
                return
            # An event without consent can't serve as a probe: take the next one.
            self._record()

    def _start(self, attempts: list[Attempt]) -> bool:
        """Start the attempts that have consent, and return whether there were any."""
        began, started = boottime(), False
        for number, attempt in enumerate(attempts):
            if number and boottime() - began > CONSENT_TTL:
                # The leases must outlast the calls to CONSENT: give back the other events, and check them later.
                self._unrecorded += attempts[number:]
                break
            try:
                attempt.is_refused = self._asks_consent and not _consents(attempt.event)
            except Exception:
                # An error isn't a refusal: give these events back, at once if possible, because the caller may end
                # here. The failing one backs off, or it would be claimed first again.
                attempt.is_postponed = True
                self._unrecorded += attempts[number:]
                with suppress(DatabaseError):
                    self.finish()
                raise
            if attempt.is_refused:
                self._unrecorded.append(attempt)
            else:
                attempt.start_before = min(attempt.start_before, boottime() + CONSENT_TTL)
                self._senders.start(attempt, self._transport)
                started = True
        return started

    def _room(self) -> int:
        """Return how many events to claim: none while the threads have enough to do."""
        capacity, held = self._ahead * self._concurrency, len(self._senders)
        # Rows that a user's transaction keeps locked must not hold up the others, but there have to be bounds.
        if held > capacity // 2 or len(self._unrecorded) > MAX_AHEAD * self._concurrency:
            return 0
        took, self._fed_at = boottime() - self._fed_at, boottime()
        if self._has_filled and took < QUICK:
            self._ahead = min(2 * self._ahead, MAX_AHEAD)
        elif took > SLOW:
            self._ahead = 2
        room = self._ahead * self._concurrency - held
        return room if self._left is None else min(room, self._left)

    def _record(self) -> None:
        if not self._unrecorded:
            return
        recorded = record(self._unrecorded, self._notify)
        # If an attempt's row is locked elsewhere, it can't close the gate yet; the others must not wait for that.
        self._senders.resume(self._unrecorded)
        done = set(self._unrecorded).difference(recorded.left)
        self._count(done)
        self._unrecorded = recorded.left
        if not recorded.left:
            self._locked_since = 0.0
        elif done or not self._locked_since:
            self._locked_since = boottime()
        if recorded.is_closing:
            self._looked_at = 0.0  # events claimed ahead must not be sent before the gate is checked again
            if recorded.is_gate_locked:
                self._held_until = boottime() + GATE_TICK
        self._is_drained = self._is_drained and not recorded.has_more

    def _count(self, done: Iterable[Attempt]) -> None:
        for attempt in done:
            if attempt.is_recorded and (attempt.answer or attempt.is_refused):
                self.delivered[attempt.event.status] += 1
            elif attempt.is_recorded and self._left is not None and not attempt.event.is_finished:
                self._left += 1


def _consents(event: OutboxEvent) -> bool:
    try:
        return consent.is_given(event.as_event())
    except (InvalidEvent, DataError, IntegrityError, ProgrammingError) as error:
        # An event from an older version, or a bug in the function: neither must hold up the others forever.
        logger.error("CONSENT could not be called for %s, which counts as no consent: %s", event, error)  # noqa: TRY400
        return False
