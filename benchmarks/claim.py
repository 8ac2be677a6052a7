"""
The cost of a claim of 100, with many finished events and with many blocked ones.

Each table is in its own database, so that the rounds can alternate. Claimed
events are given back outside the timing.
"""

from __future__ import annotations

import time

from benchmarks import databases, rows
from benchmarks.figures import Figure, interleave
from brevo_events.delivery import claim
from brevo_events.models import OutboxEvent, Status

LIMIT = 100
WAITING = 1000  # due events, each of its own contact, in addition to the finished ones
IN_FLIGHT = 2000  # events that are being sent, in addition to the waiting ones
LONGEST = 2000  # claims after which blocked events must be parked
FIRST = "every contact once"


def run(quick: bool) -> list[Figure]:
    """Compare claims: among many finished rows and few, among blocked rows and none, and with guessed statistics."""
    finished, waiting = (100_000, 10_000) if quick else (1_000_000, 100_000)
    return _finished(finished, quick) + _shapes(waiting, quick) + _guessed(quick)


def _finished(many: int, quick: bool) -> list[Figure]:
    with databases.created("few", "many"):
        for alias, count in (("few", 10_000), ("many", many)):
            with databases.using(alias):
                rows.fill(count, status=Status.SENT)
                rows.fill(WAITING, kept=count)
        samples = _claims({"few": "few", "many": "many"}, quick)
    what = f"{many:,} finished rows / 10,000"
    return [Figure(what, samples["many"], "ms", samples["few"], at_most=1.2)]


def _shapes(count: int, quick: bool) -> list[Figure]:
    shapes = {
        FIRST: {"contact": "n"},
        "20 events each": {"contact": _group("n", 20)},
        "one contact holds the oldest half": {"contact": f"CASE WHEN n < {count // 2} THEN 0 ELSE n END"},
        "nine heads in ten wait for a retry": {
            "contact": _group("n", 20),
            "retrying": f"n % 20 = 0 AND {_group('n', 20)} % 10 <> 9",
        },
        "every head waits for a retry": {"contact": _group("n", 20), "retrying": "n % 20 = 0"},
    }
    aliases = {shape: f"shape{number}" for number, shape in enumerate(shapes)}
    claimed = {}
    with databases.created(*aliases.values()):
        for shape, alias in aliases.items():
            with databases.using(alias):
                rows.fill(count, **shapes[shape])
                claimed[shape] = _park()
        samples = _claims(aliases, quick)
    first = samples[FIRST]
    names = {shape: f"{count:,} waiting: {shape} ({claimed[shape]} claimed)" for shape in shapes}
    return [Figure(names[FIRST], first, "ms")] + [
        Figure(names[shape], samples[shape], "ms", first, at_most=2) for shape in shapes if shape != FIRST
    ]


def _guessed(quick: bool) -> list[Figure]:
    """Compare a claim with the statistics that the database maintains by itself with one just after an ANALYZE."""
    with databases.created("guessed", "learned"):
        for alias in ("guessed", "learned"):
            with databases.using(alias):
                rows.fill(IN_FLIGHT, status=Status.SENDING, retrying="1 = 1", is_analysed=False)
                rows.fill(WAITING, kept=IN_FLIGHT, is_analysed=alias == "learned")
        samples = _claims({"guessed": "guessed", "learned": "learned"}, quick)
    what = f"{IN_FLIGHT:,} in flight, never analysed / analysed"
    return [Figure(what, samples["guessed"], "ms", samples["learned"], at_most=1.5)]


def _claims(aliases: dict[str, str], quick: bool) -> dict[str, list[float]]:
    contestants = {name: lambda alias=alias: _milliseconds(alias) for name, alias in aliases.items()}
    return interleave(contestants, 20 if quick else 40)


def _milliseconds(alias: str) -> float:
    with databases.using(alias):
        began = time.perf_counter()
        claim(LIMIT)
        took = time.perf_counter() - began
        rows.give_back()
    return took * 1000


def _park() -> int:
    """Claim until no claim finds blocked events any more, and return how many events a claim then gets."""
    parked = -1
    for _ in range(LONGEST // 10):
        claimed = [_claim_and_give_back() for _ in range(10)][-1]
        before, parked = parked, OutboxEvent.objects.filter(parked=True).count()
        if parked == before:
            rows.analyse()
            return claimed
    raise RuntimeError(f"Blocked events were still found after {LONGEST} claims.")


def _claim_and_give_back() -> int:
    claimed = len(claim(LIMIT).attempts)
    rows.give_back()
    return claimed


def _group(number: str, size: int) -> str:
    """Return SQL for an integer division, which differs between the databases."""
    return f"({number} - {number} % {size}) / {size}"
