from __future__ import annotations

import logging
import threading
import time

from django.db import InterfaceError, OperationalError, connections, reset_queries

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

    def __init__(self, *, concurrency: int | None = None) -> None:
        self.stopping = threading.Event()
        self._pipeline = Pipeline(concurrency=concurrency)
        self._trouble = ""

    @property
    def delivered(self) -> Delivered:
        """Return how many events ended in which status so far."""
        return self._pipeline.delivered

    @property
    def is_in_trouble(self) -> bool:
        """Return whether the last round could not be done."""
        return bool(self._trouble)

    def stop(self) -> None:
        """Let run() end, from a signal handler or another thread."""
        self.stopping.set()

    def run(self, *, max_runtime: float | None = None) -> None:
        """Deliver what falls due until stopped, or for so many seconds; then see to what is in flight."""
        ends_at = None if max_runtime is None else time.monotonic() + max_runtime
        while not self.stopping.is_set() and (ends_at is None or time.monotonic() < ends_at):
            if not self.work():
                self.stopping.wait(IDLE if ends_at is None else max(0.0, min(IDLE, ends_at - time.monotonic())))
        self.finish()

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
            return False
        except (OperationalError, InterfaceError) as error:
            self._tell(f"The database does not answer ({type(error).__name__}): it is asked again.")
            connections.close_all()
            return not self._pipeline.is_empty and not self.stopping.wait(DATABASE_PAUSE)
        self._trouble = ""
        return has_more

    def finish(self) -> None:
        """Give back what has not begun, wait for what is in flight, and end the threads."""
        try:
            self._pipeline.finish()
        except (OperationalError, InterfaceError) as error:
            # The leases run out by themselves, and others take over.
            self._tell(f"The database does not answer ({type(error).__name__}): leases are left to run out.")
        finally:
            self._pipeline.close()

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("%s", trouble)
        self._trouble = trouble
