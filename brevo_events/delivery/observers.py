from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, Queue

from django.db import connections

logger = logging.getLogger(__name__)

LINGER = 5.0  # idle seconds before the thread ends
PATIENCE = 5.0  # seconds that a worker waits for its observers at its end


class Observers:
    """
    The thread in which long-running workers call observers and loggers.

    A slow one must not keep the thread that owns the leases from recording
    answers: otherwise other workers would send the same events again.
    """

    def __init__(self) -> None:
        self._notices: Queue[Callable[[], object]] = Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __call__(self, notice: Callable[[], object]) -> None:
        """Call the notice soon, after those before it."""
        with self._lock:
            self._notices.put(notice)
            if self._thread is None or not self._thread.is_alive():  # a receiver may have called sys.exit()
                thread = threading.Thread(target=self._run, name="brevo-events-observers", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # at the system's limit, or at the end of the interpreter
                    self._call_all()
                else:
                    self._thread = thread

    def finish(self) -> None:
        """Wait until all have been called, but not for long."""
        with self._notices.all_tasks_done:
            self._notices.all_tasks_done.wait_for(lambda: not self._notices.unfinished_tasks, PATIENCE)

    def _run(self) -> None:
        while True:
            try:
                self._call(self._notices.get(timeout=LINGER))
                self._call_all()
            except Empty:
                with self._lock:
                    if self._notices.empty():
                        self._thread = None
                        return
            finally:
                # It may be one that the pages of this process need.
                connections.close_all()

    def _call_all(self) -> None:
        while not self._notices.empty():
            self._call(self._notices.get())

    def _call(self, notice: Callable[[], object]) -> None:
        try:
            notice()
        except Exception:
            logger.exception("An observer could not be notified.")
        finally:
            self._notices.task_done()
