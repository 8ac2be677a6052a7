from __future__ import annotations

import logging
import math
import operator
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, reset_queries

from brevo_events.clock import in_seconds
from brevo_events.conf import settings
from brevo_events.connections import release_connection
from brevo_events.delivery import Delivered, Pipeline, seconds_until_due
from brevo_events.delivery.claims import lease_seconds
from brevo_events.delivery.obsolete import Notify
from brevo_events.exceptions import InvalidSetting
from brevo_events.heartbeats import LOOP, Heart
from brevo_events.models import Gate, OutboxEvent
from brevo_events.states import LOOK_AGAIN

logger = logging.getLogger(__name__)

T = TypeVar("T")

SETTING_PAUSE = 1.0  # minimum seconds before a wrong setting is read again, because a callable key may query a server
DATABASE_PAUSE = 1.0  # seconds before retrying a database that doesn't answer
WAITS = 5  # times that a single pass waits for events that can be sent in a moment
SHORTEST_WAIT = 0.02  # seconds
BRIEF_HOLD = 2.0  # seconds of a hold, such as one for too many requests a second, that a single pass waits for
RETRIES = 8  # retries before a single pass, or the end of a worker, gives up
RECORDING = 8.0  # seconds, at the end of a worker, to record the last answers


def seconds_to_end() -> float:
    """Return how long a worker may take to end: requests in flight have their deadlines."""
    return settings.attempt_deadline + RECORDING


class Worker:
    """
    Delivers events until stopped.

    It survives a database restart and a temporarily invalid setting. Answers
    received meanwhile are recorded afterwards, as long as their leases last. It
    calls ``show_life`` in each round.
    """

    def __init__(
        self,
        *,
        engine: str = LOOP,
        concurrency: int | None = None,
        limit: int | None = None,
        notify: Notify = operator.call,
        show_life: Callable[[], object] | None = None,
    ) -> None:
        self.stopping = Stop()
        self.lacks_setting = False
        self.is_abandoned = False
        self._pipeline = Pipeline(concurrency=concurrency, limit=limit, notify=notify)
        self._heart = Heart(engine)
        self._show_life = show_life
        self._trouble = ""
        self._stuck_at = math.inf

    @property
    def delivered(self) -> Delivered:
        """How many events have ended in each status so far."""
        return self._pipeline.delivered

    @property
    def is_stuck(self) -> bool:
        """Whether it hasn't made a round for the length of a lease, although it wasn't asleep."""
        return time.monotonic() > self._stuck_at

    def stop(self) -> None:
        """Make run() end; callable from a signal handler or another thread."""
        self.stopping.set()

    def abandon(self) -> None:
        """Make a hanging worker send and record nothing more, even if it comes back."""
        self.is_abandoned = True
        self.stop()

    def run(self, *, max_runtime: float | None = None) -> None:
        """
        Deliver events as they become due, until stopped or for ``max_runtime`` seconds; then finish those in flight.

        While nothing is due, it polls every ``POLL_SECONDS``.
        """
        ends_at = math.inf if max_runtime is None else time.monotonic() + max_runtime
        poll_seconds = settings.POLL_SECONDS
        while not self.stopping.is_set() and not self._pipeline.is_exhausted and time.monotonic() < ends_at:
            if not self.work():
                pause = max(poll_seconds, SETTING_PAUSE) if self.lacks_setting else poll_seconds
                with self.asleep():
                    self.stopping.wait(max(0.0, min(pause, ends_at - time.monotonic())))
        self.finish()

    def run_once(self, *, max_runtime: float | None = None, when_over: Callable[[], object] = lambda: None) -> None:
        """
        Deliver until nothing is due, now or in a moment, or stopped, or time is up.

        ``when_over`` is called if time is up, while the requests in flight are
        still being waited for. A lasting database error is raised.
        """
        ends_at = math.inf if max_runtime is None else time.monotonic() + max_runtime
        pipeline, waits = self._pipeline, 0
        self._heart.wait()
        try:
            while not self.stopping.is_set() and time.monotonic() < ends_at and not pipeline.is_stuck:
                if self._patiently(self._step):
                    continue
                # The next pass may be a minute away.
                seconds = None if pipeline.is_exhausted else self._patiently(_seconds_until_more)
                if seconds is None or waits == WAITS:
                    break
                waits += 1
                with self.asleep():
                    self.stopping.wait(min(seconds, max(0.0, ends_at - time.monotonic())))
            if time.monotonic() >= ends_at:
                self._patiently(pipeline.give_back)
                self._patiently(when_over)
            self._end()
        finally:
            pipeline.close()

    def drain(self) -> None:
        """Deliver until nothing is due, or stopped, but make at least one round."""
        while self.work() and not self.stopping.is_set():
            pass

    def work(self) -> bool:
        """Do one round of the pipeline, and return whether there is more to do now."""
        try:
            has_more = self._step()
        except InvalidSetting as error:
            self._log(str(error))
            self.lacks_setting = True
            return False
        except Error as error:
            self._reconnect_after(error)
            return not self._pipeline.is_empty and not self.stopping.wait(DATABASE_PAUSE)
        self._trouble = ""
        self.lacks_setting = False
        return has_more

    def finish(self) -> None:
        """Give back the events not yet started, wait for the requests in flight, and end the threads."""
        try:
            if not self.is_abandoned:
                self._end()
        except Error as error:
            # The leases will run out by themselves, and other workers take over.
            self._log(f"Claimed events are sent once their leases run out, after {_first_line(error)}")
        finally:
            self._pipeline.close()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Count as alive inside it, without keeping a connection that pages may need."""
        with suppress(Error):
            release_connection()
        self._stuck_at = math.inf
        yield
        self._expect_round(lease_seconds())

    def _step(self) -> bool:
        self._expect_round(lease_seconds())
        if self._show_life:
            self._show_life()
        reset_queries()  # DEBUG stores every query
        self._heart.beat(self._pipeline.in_flight)
        return self._pipeline.step()

    def _end(self) -> None:
        self._expect_round(seconds_to_end())
        self._patiently(self._pipeline.finish)
        self._heart.stop()

    def _expect_round(self, seconds: float) -> None:
        self._stuck_at = time.monotonic() + seconds

    def _patiently(self, act: Callable[[], T]) -> T:
        """Retry after a database error, because answers have to be recorded."""
        for _ in range(RETRIES):
            try:
                return act()
            except Error as error:
                self._reconnect_after(error)
            time.sleep(DATABASE_PAUSE)
        return act()

    def _reconnect_after(self, error: Error) -> None:
        # A database that goes away raises different errors: the connection breaks, then is refused, then the server is
        # starting.
        is_away = isinstance(error, OperationalError | InterfaceError)
        self._log(f"Retrying the database after {_first_line(error)}", about="database" if is_away else "")
        connections.close_all()

    def _log(self, text: str, *, about: str = "") -> None:
        """Log an error, unless it, or its ``about``, is the same as before."""
        trouble = about or text
        if trouble != self._trouble:
            logger.error("%s", text)
        self._trouble = trouble


class Stop:
    """
    An event that a signal handler may set while its own thread waits for it.

    The handler of a ``threading.Event`` would wait forever for the lock held by
    the interrupted thread; a ``SimpleQueue`` is safe to use there.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wake the waiting thread."""
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Return whether it has been set."""
        return self._is_set

    def wait(self, timeout: float) -> bool:
        """Return whether it is set within ``timeout`` seconds."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=timeout)
        return self._is_set


def _seconds_until_more() -> float | None:
    """
    Return how long to wait for more to send, or None if there won't be any in a moment.

    An event is due again in a moment if a row that it needs was locked by
    another worker. One that has been due for longer can't be taken, because its
    own row is locked.
    """
    first = seconds_until_due()
    if first is None or first > BRIEF_HOLD:
        return None
    gate = Gate.load()
    if gate.is_paused or gate.seconds_until_probe > BRIEF_HOLD:
        return None
    if gate.is_closed:
        return max(gate.seconds_until_probe, SHORTEST_WAIT)
    postponed = OutboxEvent.objects.filter(due_at__gt=in_seconds(-LOOK_AGAIN)).seconds_until_first_due()
    return max(postponed, SHORTEST_WAIT) if postponed is not None and postponed <= LOOK_AGAIN else None


def _first_line(error: Error) -> str:
    # The other lines may contain values.
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
