from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from queue import Empty, SimpleQueue

from django.utils import timezone

from brevo_events.models import Gate, OutboxEvent
from brevo_events.retry import Answer
from brevo_events.transports import Transport

logger = logging.getLogger(__name__)

IDLE_LIMIT = 10.0  # seconds
GRACE = 1.0  # seconds beyond the deadline: so long a transport may take to cut an attempt off by itself


@dataclass(eq=False, slots=True)
class Attempt:
    """
    Follow one claimed event through its request.

    ``gate`` is as it was before the claim; ``leased_until``, ``start_before``
    and ``began`` are of the monotonic clock. ``answer`` stays None where no
    request was made: ``is_refused`` where the contact does not consent,
    ``is_postponed`` where nobody could be asked.
    """

    event: OutboxEvent
    gate: Gate
    leased_until: float
    answer: Answer | None = None
    start_before: float = math.inf
    started_at: datetime = field(default_factory=timezone.now)
    began: float | None = None
    is_abandoned: bool = False
    is_refused: bool = False
    is_postponed: bool = False
    is_recorded: bool = False

    @property
    def is_taken(self) -> bool:
        """Return whether Brevo has taken the event."""
        return self.answer is not None and self.answer.is_taken

    @property
    def is_probe(self) -> bool:
        """Return whether this one request shows whether the gate can open."""
        return self.gate.is_closed


class Senders:
    """
    Send attempts in threads that never touch the database.

    A thread that stays away beyond the deadline, held up by a name server for
    instance, is given up: its attempt counts as timed out, another thread takes
    its place, and what it brings later is ignored.
    """

    def __init__(self, *, concurrency: int, deadline: float, transport: Transport | None = None) -> None:
        self.transport = transport or Transport()
        self._concurrency = concurrency
        self._deadline = deadline
        self._waiting: SimpleQueue[Attempt | None] = SimpleQueue()
        self._answered: SimpleQueue[Attempt] = SimpleQueue()
        self._in_flight: set[Attempt] = set()
        self._threads = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._in_flight)

    def start(self, attempt: Attempt) -> None:
        """Queue an attempt for the next free thread."""
        self._in_flight.add(attempt)
        with self._lock:
            self._waiting.put(attempt)
            if self._threads < min(self._concurrency, len(self._in_flight)):
                self._add_thread()

    def collect(self, timeout: float) -> list[Attempt]:
        """Return what has been answered, waiting some seconds for the first."""
        collected = []
        if self._threads == 0:
            self._send_here()
        try:
            collected.append(self._answered.get(timeout=timeout))
            while True:
                collected.append(self._answered.get_nowait())
        except Empty:
            pass
        done = [attempt for attempt in collected if not attempt.is_abandoned] + self._give_up_overdue()
        self._in_flight.difference_update(done)
        return done

    def recall(self) -> list[Attempt]:
        """Take back what no thread has begun."""
        recalled = []
        try:
            while (attempt := self._waiting.get_nowait()) is not None:
                recalled.append(attempt)
        except Empty:
            pass
        self._in_flight.difference_update(recalled)
        return recalled

    def stop(self) -> None:
        """Let the threads end and what waits unsent; what is in flight is not waited for."""
        self.recall()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _add_thread(self) -> None:
        # None can be had at the system's limit, or while the interpreter shuts down: then the owner sends by itself.
        with suppress(RuntimeError):
            threading.Thread(target=self._run, name="brevo-events-sender", daemon=True).start()
            self._threads += 1

    def _send_here(self) -> None:
        with suppress(Empty):
            if attempt := self._waiting.get_nowait():
                self._attempt(attempt)

    def _give_up_overdue(self) -> list[Attempt]:
        latest = time.monotonic() - self._deadline - GRACE
        overdue = [a for a in self._in_flight if a.began is not None and a.began < latest and a.answer is None]
        for attempt in overdue:
            attempt.is_abandoned = True
            attempt.answer = Answer(None, "Cut off at the deadline.", error="timeout", duration=self._deadline)
            with self._lock:
                self._threads -= 1
                self._add_thread()
        return overdue

    def _run(self) -> None:
        while (attempt := self._next()) is not None:
            self._attempt(attempt)
            if attempt.is_abandoned:
                return

    def _attempt(self, attempt: Attempt) -> None:
        # Without enough of the lease left, another worker could send the same event meanwhile.
        now = time.monotonic()
        if now + self._deadline + GRACE < attempt.leased_until and now < attempt.start_before:
            answer = self._send(attempt)
            if attempt.is_abandoned:
                return
            attempt.answer = answer
        self._answered.put(attempt)

    def _next(self) -> Attempt | None:
        """Return what to send, or None to end the thread: told to, or with nothing to do for a while."""
        try:
            return self._waiting.get(timeout=IDLE_LIMIT)
        except Empty:
            pass
        with self._lock:
            with suppress(Empty):
                return self._waiting.get_nowait()
            self._threads -= 1
            return None

    def _send(self, attempt: Attempt) -> Answer:
        attempt.started_at = timezone.now()
        attempt.began = time.monotonic()
        try:
            return self.transport.send(attempt.event.body)
        except Exception as error:  # noqa: BLE001 - one event's trouble must not stop the others
            logger.error("The transport raised %s for %s.", type(error).__name__, attempt.event)  # noqa: TRY400
            return Answer(None, f"The transport raised {type(error).__name__}.", error="transport")
