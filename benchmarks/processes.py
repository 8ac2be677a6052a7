"""
The gain from a second worker process, at 20 ms and with default settings; nothing is pinned.

Counting starts when every process has polled the outbox, which it does every
POLL_SECONDS: how long it slept says nothing about how fast it is.
"""

from __future__ import annotations

from datetime import timedelta

from benchmarks import children, databases, rows
from benchmarks.figures import Figure, interleave
from brevo_events.conf import settings
from brevo_events.models import OutboxEvent

LATENCY = 0.02  # seconds


def run(quick: bool) -> list[Figure]:
    """Compare two workers with one."""
    count = 2000 if quick else 2400
    with children.fake_brevo(LATENCY) as url:
        contestants = {"one": lambda: _rate(1, count, url), "two": lambda: _rate(2, 2 * count, url)}
        rates = interleave(contestants, 1 if quick else 3, warm_up=False)
    return [Figure("two processes / one, 20 ms", rates["two"], "/s", rates["one"], at_least=1.7)]


def _rate(processes: int, count: int, url: str) -> float:
    databases.empty()
    with children.workers(processes, url):
        rows.fill(count)
        rows.wait_until_finished(timeout=120)
    finished = list(OutboxEvent.objects.order_by("finished_at").values_list("finished_at", flat=True))
    begin = finished[0] + timedelta(seconds=1.1 * settings.POLL_SECONDS)
    counted = [moment for moment in finished if moment > begin]
    return len(counted) / (finished[-1] - begin).total_seconds()
