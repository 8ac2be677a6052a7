"""Whether a worker process grows with the number of delivered events; Linux only."""

from __future__ import annotations

from benchmarks import children, databases, machine, rows
from benchmarks.figures import Figure


def run(quick: bool) -> list[Figure]:
    """Compare the memory of a worker after many events with that after the first of them."""
    few, many = (2_000, 10_000) if quick else (10_000, 100_000)
    databases.empty()
    with children.fake_brevo() as url, children.workers(1, url) as [pid]:
        early = _megabytes_after(few, pid)
        late = _megabytes_after(many - few, pid)
    return [
        Figure(f"after {many:,} events / {few:,}", [late], "MB", [early]),
        Figure("growth in between", [late - early], "MB", at_most=5),
    ]


def _megabytes_after(count: int, pid: int) -> float:
    rows.fill(count)
    rows.wait_until_finished(timeout=300)
    return machine.resident_megabytes(pid)
