from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable

from brevo_events.conf import is_testing
from brevo_events.engines.base import Engine
from brevo_events.exceptions import InvalidSetting

logger = logging.getLogger(__name__)


class BackgroundThread(threading.Thread):
    """Base class for the threads that engines run."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)

    @property
    def is_stuck(self) -> bool:
        """Whether it hangs, so that another thread has to take its place."""
        return False

    def nudge(self) -> None:
        """Act soon."""

    def finish(self) -> None:
        """End cleanly, and return when that is done or has taken too long."""


class BackgroundEngine(Engine):
    """
    Base class for engines that have a daemon thread in each process.

    The thread starts at the first request or capture, again in each process
    after a fork, but never under test. It ends before the process does.
    """

    _thread: BackgroundThread | None
    _ending: BackgroundThread | None

    def __init__(self) -> None:
        self._is_over = False
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        try:
            # Children of multiprocessing run only the first. The second runs after the last other thread has ended.
            getattr(threading, "_register_atexit", atexit.register)(self._end_with_threads)
            atexit.register(self._end_with_process)
        except RuntimeError:
            self._is_over = True  # created in an exit handler: nothing would end its thread

    def make_thread(self) -> BackgroundThread:
        """Return a new thread, not started yet; may raise ``InvalidSetting``."""
        raise NotImplementedError

    def start(self) -> None:
        if is_testing() or self._is_over or self._is_well():
            return
        with self._lock:
            if not self._is_well():
                self._renew()

    def nudge(self) -> None:
        self.start()
        if (thread := self._thread) is not None:
            thread.nudge()

    def finish(self) -> None:
        with self._lock:
            self._ending, self._thread = self._thread or self._ending, None
            thread = self._ending
        if thread is not None:  # another caller may already be waiting for it
            thread.finish()

    def _end_with_threads(self) -> None:
        self._is_over = sys.version_info >= (3, 12)  # from then on, Python starts no threads
        self.finish()

    def _end_with_process(self) -> None:
        self._is_over = True
        self.finish()

    def _forget(self) -> None:
        """Start from scratch: after a fork, the thread is gone, and a lock may be held without an owner."""
        self._lock = threading.Lock()
        self._thread = None
        self._ending = None

    def _is_well(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive() and not thread.is_stuck

    def _renew(self) -> None:
        try:
            thread = self.make_thread()
            thread.start()
        except InvalidSetting as error:
            logger.error("%s", error)  # noqa: TRY400 - the message says it all
        else:
            self._thread = thread
            finish_with_celery(self.finish)


def finish_with_celery(finish: Callable[[], None]) -> None:
    """Call ``finish`` at the end of a process in Celery's pool, which runs no exit handlers."""
    # Don't import it here: a process that hasn't imported it doesn't run Celery.
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(
            lambda **_kwargs: finish(), weak=False, dispatch_uid="brevo_events.engines"
        )
