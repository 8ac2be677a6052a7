"""The cost of a worker that has nothing to do; Linux only."""

from __future__ import annotations

import time

from benchmarks import children, databases, machine
from benchmarks.figures import Figure
from brevo_events.heartbeats import Heartbeat

SECONDS = 20


def run(quick: bool) -> list[Figure]:
    """Measure the CPU of `send_brevo_events --loop` on an empty outbox."""
    databases.empty()
    with children.fake_brevo() as url, children.workers(1, url) as [pid]:
        while not Heartbeat.objects.exists():  # until it has started
            time.sleep(0.1)
        time.sleep(1)
        began, before = time.monotonic(), machine.cpu_seconds(pid)
        time.sleep(5 if quick else SECONDS)
        share = 100 * (machine.cpu_seconds(pid) - before) / (time.monotonic() - began)
    return [Figure("an idle worker", [share], "% of a core", at_most=1)]
