"""
Events per second that one process delivers, at several latencies of Brevo.

The baselines: the same transport in the same number of threads without a
database, a default ``requests.Session`` for each thread, and what the threads
could do if only Brevo took time. All run pinned to the first CPU, and the fake
Brevo, in a separate process, to the others; connections are kept from round to
round.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import requests
from django.conf import settings
from django.test import override_settings

from benchmarks import children, databases, machine, rows
from benchmarks.figures import Figure, interleave
from brevo_events import transports
from brevo_events.delivery import deliver
from brevo_events.events import Event
from brevo_events.models import Status

CASES = ((0.0, 32, 3000), (0.02, 16, 1600), (0.02, 32, 3200), (0.05, 32, 1280))  # seconds, threads, events in a round

BODY = Event(**rows.arguments(0)).json()


def run(quick: bool) -> list[Figure]:
    """Compare deliver() with the same sending without a database, at each latency."""
    figures = []
    with machine.pinned_apart() as others:
        for latency, threads, count in CASES:
            databases.empty()
            with children.fake_brevo(latency, others) as url, override_settings(BREVO_EVENTS=_settings(url)):
                rates = _rates(url, latency, threads, count // 2 if quick else count, _rounds(latency, quick))
            figures += _figures(latency, threads, rates)
    return figures


def _rounds(latency: float, quick: bool) -> int:
    """Return fewer rounds if waiting evens out the noise of the machine."""
    return 2 if quick else 3 if latency else 5


def _rates(url: str, latency: float, threads: int, count: int, rounds: int) -> dict[str, list[float]]:
    sessions = [requests.Session() for _ in range(threads)]
    contestants = {
        "deliver": lambda: _deliver(count, threads),
        "transport": lambda: _send(count, [transports.current().send] * threads),
    }
    if not latency:
        contestants["session"] = lambda: _send(count, [_poster(session, url) for session in sessions])
    return interleave(contestants, rounds)


def _figures(latency: float, threads: int, rates: dict[str, list[float]]) -> list[Figure]:
    mine, bare = rates["deliver"], rates["transport"]
    name = f"deliver(), {latency * 1000:.0f} ms, {threads} threads"
    if not latency:
        return [
            Figure(f"{name} / same sender, no database", mine, "/s", bare, at_least=0.75),
            Figure(f"{name} / a requests.Session a thread", mine, "/s", rates["session"], at_least=1.5),
        ]
    ideal = [threads / latency] * len(mine)
    return [
        Figure(f"{name} / (threads / latency)", mine, "/s", ideal, at_least=0.85 if latency == 0.02 else None),
        Figure(f"{name} / same sender, no database", mine, "/s", bare),
    ]


def _deliver(count: int, threads: int) -> float:
    rows.fill(count)
    began = time.perf_counter()
    delivered = deliver(concurrency=threads)
    took = time.perf_counter() - began
    if delivered != {Status.SENT: count}:
        raise RuntimeError(f"Of {count} events, deliver() ended so many: {dict(delivered)}.")
    return count / took


def _send(count: int, senders: list[Callable[[str], Any]]) -> float:
    waiting: SimpleQueue[str] = SimpleQueue()
    for _ in range(count):
        waiting.put(BODY)

    def work(send: Callable[[str], Any]) -> None:
        while True:
            try:
                send(waiting.get_nowait())
            except Empty:
                return

    threads = [threading.Thread(target=work, args=(send,)) for send in senders]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def _poster(session: requests.Session, url: str) -> Callable[[str], Any]:
    """Return the code that most people would write, with a dict as the body."""
    body, headers = json.loads(BODY), {"ma-key": databases.MA_KEY}
    return lambda _: session.post(url, json=body, headers=headers, timeout=10)


def _settings(url: str) -> dict[str, Any]:
    return {**settings.BREVO_EVENTS, "URL": url}
