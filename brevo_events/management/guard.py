from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from brevo_events.worker import Worker, seconds_to_end

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HUNG = 3  # exit code of a hung process
LOOK = 1.0  # seconds between checks of the worker


@contextmanager
def stopped_by_signals(worker: Worker) -> Iterator[None]:
    """Stop the worker at the first SIGTERM or SIGINT; a second one ends the process as usual."""
    former: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        worker.stop()
        restore()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        former = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        restore()


@contextmanager
def ended_if_hung(worker: Worker) -> Iterator[None]:
    """
    End this process if the worker hangs, or doesn't end in time after a signal.

    A dead database connection can hang for a quarter of an hour, and
    mysqlclient doesn't even let Python handle signals in that time, so a
    separate thread reads them. Only for a process that does nothing else, from
    its main thread.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    former = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_guard, args=(worker, reading), name="brevo-events-guard", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        writing.close()


def _guard(worker: Worker, signals: socket.socket) -> None:
    with signals:
        _watch(worker, signals)


def _watch(worker: Worker, signals: socket.socket) -> None:
    ends_by = math.inf
    signals.settimeout(LOOK)
    while True:
        try:
            numbers = signals.recv(16)
            if not numbers:
                return
        except TimeoutError:
            numbers = b""
        for number in filter(SIGNALS.__contains__, numbers):
            if ends_by < math.inf:
                os._exit(128 + number)
            worker.stop()
            ends_by = time.monotonic() + seconds_to_end()
        if worker.is_stuck:
            _exit("The worker hangs, perhaps on a dead database connection. It exits, to be started again.")
        if time.monotonic() > ends_by:
            _exit("The worker did not end in time. What it had claimed is sent by another, once the leases run out.")


def _exit(message: str) -> None:
    # A logging handler, which holds a lock, may be what hangs.
    logging_thread = threading.Thread(target=logger.critical, args=(message,), daemon=True)
    logging_thread.start()
    logging_thread.join(LOOK)
    os._exit(HUNG)
