"""The pruning process: each line of its input says for how many seconds to prune, each line of output what was done."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import databases


def main(given: str) -> None:
    """Prune as told, until the input ends."""
    databases.configure(**json.loads(given))
    from brevo_events import privacy

    transactions: list[float] = []
    privacy._delete = _timed(privacy._delete, transactions)  # noqa: SLF001 - a transaction from its begin to its commit
    steps = privacy.prune()
    print("ready", flush=True)
    for line in sys.stdin:
        transactions.clear()
        began = time.perf_counter()
        deleted, is_done = _prune(steps, float(line))
        took = time.perf_counter() - began
        print(json.dumps({"deleted": deleted, "is_done": is_done, "seconds": took, "transactions": transactions}))
        sys.stdout.flush()


def _prune(steps: Iterator[int], seconds: float) -> tuple[int, bool]:
    deleted, ends_at = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        count = next(steps, None)
        if count is None:
            return deleted, True
        deleted += count
    return deleted, False


def _timed(delete: Callable[[Any], int], transactions: list[float]) -> Callable[[Any], int]:
    def timed(events: Any) -> int:
        began = time.perf_counter()
        try:
            return delete(events)
        finally:
            transactions.append((time.perf_counter() - began) * 1000)

    return timed


if __name__ == "__main__":
    main(sys.argv[1])
