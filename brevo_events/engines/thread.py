from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading

from django.db import Error, connections

from brevo_events.delivery import seconds_until_due
from brevo_events.engines.base import Engine
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import Gate
from brevo_events.worker import Worker

logger = logging.getLogger(__name__)

LONGEST_NAP = 30.0  # seconds
LOOK_AGAIN = 1.0  # seconds
KEEP_CONNECTION = 2.0  # seconds
EXIT_PATIENCE = 5.0  # seconds that a process waits at its end for what it has captured itself


class ThreadEngine(Engine):
    """
    Deliver in one daemon thread of this process, with a database connection of its own.

    It starts at the first request or capture, in each process after a fork, and
    sleeps until something is due. Leases keep the threads of several processes
    apart. A process that ends waits for its own events, but not for long.
    """

    _thread: threading.Thread | None
    _worker: Worker | None

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        # Before the interpreter shuts down: later, Python 3.12 lets no thread start any more.
        getattr(threading, "_register_atexit", atexit.register)(self._at_exit)

    def start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                if threads_are_off():
                    logger.error("uWSGI runs without threads: set enable-threads, or ENGINE to 'worker'.")
                self._thread = threading.Thread(target=self._run, name="brevo-events", daemon=True)
                self._thread.start()

    def nudge(self) -> None:
        self.start()
        with self._lock:
            self._idle.clear()
            self._wake.set()

    def _forget(self) -> None:
        """Begin anew: after a fork, the thread is gone, and a lock may be held by nobody."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = None
        self._worker = None

    def _run(self) -> None:
        try:
            worker = self._worker = Worker()
        except InvalidSetting as error:
            logger.error("%s", error)  # noqa: TRY400 - the message says it all
            self._idle.set()
            return
        try:
            self._deliver_until_stopped(worker)
        finally:
            worker.finish()
            connections.close_all()

    def _deliver_until_stopped(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            self._wake.clear()
            worker.drain()
            with self._lock:
                if not self._wake.is_set():
                    self._idle.set()
            # The nudge that came with a stop may have been cleared above.
            if not worker.stopping.is_set():
                self._sleep(self._nap(worker))

    def _sleep(self, seconds: float) -> None:
        """Sleep until nudged, without a database connection where it takes long."""
        if not self._wake.wait(min(seconds, KEEP_CONNECTION)):
            connections.close_all()
            self._wake.wait(max(0.0, seconds - KEEP_CONNECTION))

    def _nap(self, worker: Worker) -> float:
        """Return the seconds until something is due, at most the longest nap, with jitter."""
        longest = LONGEST_NAP * random.uniform(0.8, 1.0)  # noqa: S311 - jitter is no secret
        try:
            due, gate = seconds_until_due(), Gate.load()
        except Error:
            return LOOK_AGAIN
        if due is None or gate.is_paused or worker.lacks_setting:
            return longest
        # What is due and was not sent is held by somebody else, or has fallen due just now.
        return min(max(due or LOOK_AGAIN, gate.seconds_until_probe), longest)

    def _at_exit(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            return
        # Before the worker is asked for: the thread may have begun just now, and not have made it yet.
        self._idle.wait(EXIT_PATIENCE)
        if self._worker is not None:
            self._worker.stop()
        self._wake.set()
        self._thread.join(1.0)


def threads_are_off() -> bool:
    """Return whether this process is uWSGI's, without threads of Python."""
    uwsgi = sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", {})
    return uwsgi is not None and not {"enable-threads", b"enable-threads", "threads", b"threads"} & set(options)
