from __future__ import annotations

import logging

from brevo_events.engines.background import BackgroundEngine
from brevo_events.engines.runner import Runner

logger = logging.getLogger(__name__)

MAX_STUCK = 3  # hanging threads: more wouldn't help, and each holds a connection


class ThreadEngine(BackgroundEngine):
    """
    Delivers in one daemon thread of this process, with its own database connection.

    Leases keep the threads of several processes from sending the same events. A
    thread that hangs, on a dead connection for instance, is replaced at a
    request.
    """

    _thread: Runner | None
    _stuck: list[Runner]

    def make_thread(self) -> Runner:
        return Runner()

    def _forget(self) -> None:
        super()._forget()
        self._stuck = []

    def _renew(self) -> None:
        self._stuck = [runner for runner in self._stuck if runner.is_alive()]
        if self._thread is not None and self._thread.is_alive():
            if len(self._stuck) == MAX_STUCK:
                return
            logger.error("The delivery thread hangs, perhaps on a dead database connection: it is replaced.")
            self._thread.abandon()
            self._stuck.append(self._thread)
        super()._renew()
