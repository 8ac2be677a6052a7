from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue

from brevo_events.answers import Answer
from brevo_events.clock import boottime
from brevo_events.delivery.attempts import GRACE, Attempt
from brevo_events.retry import closing
from brevo_events.transports import Transport

logger = logging.getLogger(__name__)

IDLE_LIMIT = 10.0  # seconds


class Senders:
    """
    The threads that send attempts; they never touch the database.

    A thread that stays away beyond the deadline, held up by a name server for
    instance, is abandoned: its attempt counts as timed out, another thread
    takes its place, and anything it returns later is ignored.
    """

    def __init__(self, *, concurrency: int, deadline: float) -> None:
        self._concurrency = concurrency
        self._deadline = deadline
        self._waiting: SimpleQueue[tuple[Attempt, Transport] | None] = SimpleQueue()
        self._answered: SimpleQueue[Attempt] = SimpleQueue()
        self._in_flight: set[Attempt] = set()
        self._threads = 0
        self._closing: set[Attempt] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._in_flight)

    def start(self, attempt: Attempt, transport: Transport) -> None:
        """Queue an attempt for the next free thread."""
        self._in_flight.add(attempt)
        with self._lock:
            self._waiting.put((attempt, transport))
            if self._threads < min(self._concurrency, len(self._in_flight)):
                self._add_thread()

    @property
    def is_held(self) -> bool:
        """Whether an answer that closes the gate is waiting to be recorded; until then, no other request begins."""
        return bool(self._closing)

    def resume(self, seen: Iterable[Attempt]) -> None:
        """Go on sending, now that these answers are recorded, or can't be recorded yet."""
        self._closing.difference_update(seen)

    def collect(self, timeout: float, *, gather: float = 0.0) -> list[Attempt]:
        """Return the answered attempts; wait some seconds for the first, and a little longer for others in flight."""
        collected = []
        if self._threads == 0:
            self._send_here()
        try:
            collected.append(self._answered.get(timeout=timeout))
            if len(self._in_flight) > 1:
                time.sleep(gather)
            while True:
                collected.append(self._answered.get_nowait())
        except Empty:
            pass
        done = [attempt for attempt in collected if not attempt.is_abandoned] + self._give_up_overdue()
        self._in_flight.difference_update(done)
        return done

    def recall(self) -> list[Attempt]:
        """Take back the attempts that no thread has started."""
        recalled = []
        try:
            while (waiting := self._waiting.get_nowait()) is not None:
                recalled.append(waiting[0])
        except Empty:
            pass
        self._in_flight.difference_update(recalled)
        return recalled

    def stop(self) -> None:
        """End the threads and leave waiting attempts unsent, without waiting for requests in flight."""
        self.recall()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _add_thread(self) -> None:
        # No thread can be started at the system's limit or during interpreter shutdown: then the owner sends by itself.
        with suppress(RuntimeError):
            threading.Thread(target=self._run, name="brevo-events-sender", daemon=True).start()
            self._threads += 1

    def _send_here(self) -> None:
        with suppress(Empty):
            if waiting := self._waiting.get_nowait():
                self._attempt(*waiting)

    def _give_up_overdue(self) -> list[Attempt]:
        latest = boottime() - self._deadline - GRACE
        with self._lock:  # an answer may come at this very moment
            overdue = [a for a in self._in_flight if a.began is not None and a.began < latest and a.answer is None]
            for attempt in overdue:
                attempt.is_abandoned = True
                attempt.answer = Answer(None, "Cut off at the deadline.", error="timeout", duration=self._deadline)
                self._threads -= 1
                self._add_thread()
        return overdue

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            self._attempt(*waiting)
            if waiting[0].is_abandoned:
                return

    def _attempt(self, attempt: Attempt, transport: Transport) -> None:
        # If too little of the lease is left, another worker could send the same event at the same time.
        now = boottime()
        if not self._closing and now + self._deadline + GRACE < attempt.leased_until and now < attempt.start_before:
            answer = self._send(attempt, transport)
            with self._lock:
                if attempt.is_abandoned:
                    return
                attempt.answer = answer
                if closing(answer.status, None if attempt.is_probe else attempt.event.response_code):
                    # Attempts that wait for a thread would get the same answer.
                    self._closing.add(attempt)
        self._answered.put(attempt)

    def _next(self) -> tuple[Attempt, Transport] | None:
        """Return the next attempt, or None to end the thread: when stopped, or after being idle for a while."""
        try:
            return self._waiting.get(timeout=IDLE_LIMIT)
        except Empty:
            pass
        with self._lock:
            with suppress(Empty):
                return self._waiting.get_nowait()
            self._threads -= 1
            return None

    def _send(self, attempt: Attempt, transport: Transport) -> Answer:
        attempt.began = boottime()
        try:
            return checked(transport.send(attempt.event.body, attempt.event.call))
        except Exception as error:  # noqa: BLE001 - one event's trouble must not stop the others
            # Only a warning: if this happens to all events, the hold is logged as the one error.
            logger.warning("The transport raised %s for %s.", type(error).__name__, attempt.event)
            return Answer(None, f"The transport raised {type(error).__name__}.", error="transport")


def checked(answer: Answer) -> Answer:
    """Return the transport's return value, or raise ``TypeError`` if it isn't an answer."""
    if not isinstance(answer, Answer) or not (answer.status is None or 100 <= answer.status <= 599):
        raise TypeError(f"A transport must return an Answer with a status from 100 to 599 or None, not {answer!r}.")
    return answer
