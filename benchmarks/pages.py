"""
The cost to a page that captures an event of an engine that delivers in the web process.

There are two gunicorn servers, each with one worker of four threads, with the
engines `thread` and `worker`, and each with its own database. They get requests
in turn, at a steady rate, whether or not the earlier ones are answered. Brevo
answers after 20 ms.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from contextlib import ExitStack
from statistics import quantiles

from benchmarks import children, databases, machine
from benchmarks.figures import Figure, interleave

RATE = 40  # requests a second
SECONDS = 8
LATENCY = 0.02  # seconds
ENGINES = ("thread", "worker")


def run(quick: bool) -> list[Figure]:
    """Compare pages next to a delivering thread with pages without one."""
    latency: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    with ExitStack() as stack:
        stack.enter_context(databases.created(*ENGINES))
        url = stack.enter_context(children.fake_brevo(LATENCY))
        servers = {engine: stack.enter_context(children.page(engine, url)) for engine in ENGINES}
        visits = {engine: lambda engine=engine: _visit(*servers[engine], latency[engine]) for engine in ENGINES}
        cpu = interleave(visits, 2 if quick else 7)
    # The first round of each was a warm-up.
    thread, worker = ([_p95(taken) for taken in latency[engine][1:]] for engine in ENGINES)
    more = [mine - its for mine, its in zip(*(cpu[engine] for engine in ENGINES), strict=True)]
    return [
        Figure("p95 of a page, engine thread / worker", thread, "ms", worker, at_most=1.5),
        Figure("CPU of a request, engine thread less worker", more, "ms", at_most=3),
    ]


def _visit(address: str, pid: int, latencies: list[list[float]]) -> float:
    """Send requests for some seconds, keep their milliseconds, and return the CPU of one in milliseconds."""
    count, taken = RATE * SECONDS, []
    threads = [threading.Thread(target=lambda: taken.append(_milliseconds(address))) for _ in range(count)]
    before, began = machine.cpu_seconds(pid), time.monotonic()
    for number, thread in enumerate(threads):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.5)  # so that the events of the last requests are delivered too
    latencies.append(taken)
    if len(taken) != count:
        raise RuntimeError(f"Of {count} requests, {count - len(taken)} failed.")
    return (machine.cpu_seconds(pid) - before) / count * 1000


def _milliseconds(address: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=10) as response:
        response.read()
    return (time.perf_counter() - began) * 1000


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]
