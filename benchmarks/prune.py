"""
The cost of pruning a large outbox, and its effect on a worker.

A separate process prunes: first in windows of two seconds that alternate with
windows without pruning, while this process claims and records as a worker does;
then alone. Linux only.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks import children, databases, machine, rows
from benchmarks.figures import Figure
from brevo_events.answers import Answer
from brevo_events.choices import Reason, Status
from brevo_events.delivery import claim, record
from brevo_events.models import OutboxEvent

WINDOW = 2.0  # seconds
ROUNDS = 25  # then the pruner runs alone until it is done
WAITING = 5000  # due events, in addition to the finished ones
LIMIT = 50  # events in a claim
PAUSE = 0.02  # seconds between a record and the next claim
WARM = 2  # windows until the pruner has loaded everything it needs
TENTHS = [(8, Status.SENT, ""), (1, Status.FAILED, Reason.REJECTED), (1, Status.CANCELLED, Reason.SUPERSEDED)]


@dataclass
class Window:
    """The milliseconds that claims and records took in one window."""

    claims: list[float] = field(default_factory=list)
    records: list[float] = field(default_factory=list)

    @property
    def slowest(self) -> float:
        """Return the longest of all."""
        return max(self.claims + self.records)


def run(quick: bool) -> list[Figure]:
    """Prune old rows of all kinds, and compare the worker's times with those without pruning."""
    count = 100_000 if quick else 1_000_000
    databases.empty()
    kept = 0
    for tenths, status, reason in TENTHS:
        rows.fill(count * tenths // 10, status=status, reason=reason, kept=kept, ended=91)
        kept += count * tenths // 10
    rows.add_attempts()
    rows.fill(WAITING, kept=kept)
    with children.pruner() as process:
        return _figures(count, *_by_turns(process))


def _by_turns(process: subprocess.Popen[bytes]) -> tuple[list[dict], list[Window], list[Window], list[float]]:
    told: list[dict] = []
    without, meanwhile, memory = [], [], []
    _work()
    while not told or not told[-1]["is_done"]:
        is_held_against = len(told) < ROUNDS
        if is_held_against:
            without.append(_work())
        process.stdin.write(f"{WINDOW}\n".encode())
        if is_held_against:
            meanwhile.append(_work())
        told.append(json.loads(process.stdout.readline()))
        memory.append(machine.resident_megabytes(process.pid, peak=True))
    if len(told) <= ROUNDS:
        # In the last window, pruning ran only for part of the time.
        del without[-1], meanwhile[-1]
    return told, without, meanwhile, memory


def _work() -> Window:
    window, ends_at = Window(), time.perf_counter() + WINDOW
    while time.perf_counter() < ends_at:
        began = time.perf_counter()
        attempts = claim(LIMIT).attempts
        claimed = time.perf_counter()
        for attempt in attempts:
            attempt.answer = Answer(204)
        pks = [attempt.event.pk for attempt in attempts]
        ready = time.perf_counter()
        record(attempts)
        recorded = time.perf_counter()
        window.claims.append((claimed - began) * 1000)
        window.records.append((recorded - ready) * 1000)
        rows.revive(pks)
        time.sleep(PAUSE)
    return window


def _figures(
    count: int, told: list[dict], without: list[Window], meanwhile: list[Window], memory: list[float]
) -> list[Figure]:
    deleted = sum(window["deleted"] for window in told)
    if deleted != count or OutboxEvent.objects.filter(status=Status.FAILED).exists():
        raise RuntimeError(f"Of {count} events, {deleted} were pruned.")
    transactions = [took for window in told for took in window["transactions"]]
    tenth = len(transactions) // 10
    figures = [
        Figure(f"{count:,} events, rests included", [sum(window["seconds"] for window in told)], "s"),
        Figure("a transaction: the last tenth / the first", transactions[-tenth:], "ms", transactions[:tenth]),
        Figure("the longest transaction", [max(transactions)], "ms"),
        Figure("growth of the process", [memory[-1] - memory[min(WARM, len(memory)) - 1]], "MB", at_most=5),
    ]
    for what in ("claims", "records"):
        mine, bare = ([median(getattr(window, what)) for window in windows] for windows in (meanwhile, without))
        figures.append(Figure(f"a worker's {what[:-1]} of {LIMIT}, meanwhile / without", mine, "ms", bare, at_most=1.5))
    mine, bare = ([window.slowest for window in windows] for windows in (meanwhile, without))
    figures.append(Figure(f"the slowest of them in {WINDOW:g} s, meanwhile / without", mine, "ms", bare))
    return figures
