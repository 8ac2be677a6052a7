from __future__ import annotations

import logging
import math
import threading
import time

from django.db import Error, connections, reset_queries

from brevo_events.delivery import Delivered, Pipeline
from brevo_events.exceptions import InvalidSetting

logger = logging.getLogger(__name__)

IDLE = 1.0  # seconds between two looks at the outbox
DATABASE_PAUSE = 1.0  # seconds before a database that does not answer is asked again


class Worker:
    """
    Deliver until told to stop.

    It outlives a restart of the database and a setting that is wrong for a
    while: what has been answered meanwhile is recorded afterwards, as far as
    its leases last.
    """

    def __init__(self, *, concurrency: int | None = None, limit: int | None = None) -> None:
        self.stopping = threading.Event()
        self.lacks_setting = False
        self._pipeline = Pipeline(concurrency=concurrency, limit=limit)
        self._trouble = ""

    @property
    def delivered(self) -> Delivered:
        """Return how many events ended in which status so far."""
        return self._pipeline.delivered

    def stop(self) -> None:
        """Let run() end, from a signal handler or another thread."""
        self.stopping.set()

    def run(self, *, max_runtime: float | None = None) -> None:
        """Deliver what falls due until stopped, or for so many seconds; then see to what is in flight."""
        ends_at = math.inf if max_runtime is None else time.monotonic() + max_runtime
        while not self.stopping.is_set() and not self._pipeline.is_exhausted and time.monotonic() < ends_at:
            if not self.work():
                self.stopping.wait(max(0.0, min(IDLE, ends_at - time.monotonic())))
        self.finish()

    def run_once(self, *, max_runtime: float | None = None) -> None:
        """Deliver until nothing is due, stopped, or for so many seconds; errors of the database are the caller's."""
        ends_at = math.inf if max_runtime is None else time.monotonic() + max_runtime
        pipeline = self._pipeline
        try:
            while not self.stopping.is_set() and time.monotonic() < ends_at and not pipeline.is_stuck:
                if not pipeline.step():
                    break
            pipeline.finish()
        finally:
            pipeline.close()

    def drain(self) -> None:
        """Deliver until nothing is due, or stopped."""
        while not self.stopping.is_set() and self.work():
            pass

    def work(self) -> bool:
        """Do one round of the pipeline, and return whether there is more to do now."""
        reset_queries()  # DEBUG keeps every query
        try:
            has_more = self._pipeline.step()
        except InvalidSetting as error:
            self._tell(str(error))
            self.lacks_setting = True
            return False
        except Error as error:
            self._tell(f"The database is asked again, after {_first_line(error)}")
            connections.close_all()
            return not self._pipeline.is_empty and not self.stopping.wait(DATABASE_PAUSE)
        self._trouble = ""
        self.lacks_setting = False
        return has_more

    def finish(self) -> None:
        """Give back what has not begun, wait for what is in flight, and end the threads."""
        try:
            self._pipeline.finish()
        except Error as error:
            # The leases run out by themselves, and others take over.
            self._tell(f"Leases are left to run out, after {_first_line(error)}")
        finally:
            self._pipeline.close()

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("%s", trouble)
        self._trouble = trouble


def _first_line(error: Error) -> str:
    # The lines after the first may hold values.
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
