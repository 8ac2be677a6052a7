"""The measurements: taken in rounds, compared with a baseline and a target, printed and stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("", "measured", "floor", "ratio", "target", "")


@dataclass(frozen=True)
class Figure:
    """
    The samples of one figure, and those of its baseline from the same rounds.

    The ratio is judged, as the median of the rounds' own ratios, so that
    anything that slows a round down affects both sides; without a baseline, the
    figure itself is judged.
    """

    what: str
    samples: Sequence[float]
    unit: str
    floor: Sequence[float] = ()
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times its baseline the figure is."""
        return median(mine / its for mine, its in zip(self.samples, self.floor, strict=True)) if self.floor else None

    @property
    def target(self) -> str:
        """The target of the figure."""
        if self.at_most is not None and self.at_most == self.at_least:
            return f"= {self.at_most:g}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the target is met, and otherwise by how much it is missed."""
        judged = median(self.samples) if self.ratio is None else self.ratio
        over = judged - self.at_most if self.at_most is not None else 0.0
        under = self.at_least - judged if self.at_least is not None else 0.0
        missed = max(over, under)
        if not self.target:
            return ""
        return f"missed by {missed:.2f}" if missed > 0 else "met"

    def cells(self) -> list[str]:
        """Return the line of the table."""
        floor = f"{_number(median(self.floor))} {self.unit}" if self.floor else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        return [self.what, f"{_number(median(self.samples))} {self.unit}", floor, ratio, self.target, self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return everything about the figure, samples included."""
        return {
            "what": self.what,
            "unit": self.unit,
            "measured": median(self.samples),
            "floor": median(self.floor) if self.floor else None,
            "ratio": self.ratio,
            "target": self.target,
            "verdict": self.verdict,
            "samples": list(self.samples),
            "floor_samples": list(self.floor),
        }


def interleave(
    contestants: dict[str, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Run each once unmeasured, then all of them in every round, forwards and backwards in turn; return the samples."""
    for run in contestants.values() if warm_up else ():
        run()
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 else reversed(names):
            samples[name].append(contestants[name]())
    return samples


def table(figures: Sequence[Figure]) -> str:
    """Return an aligned table of the figures."""
    lines = [list(COLUMNS), *(figure.cells() for figure in figures)]
    widths = [max(len(cells[index]) for cells in lines) for index in range(len(COLUMNS))]
    return "\n".join(
        f"  {cells[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells[1:5], widths[1:5], strict=True))
        + f"  {cells[5]}"
        for cells in lines
    )


def keep(name: str, database: str, figures: Sequence[Figure], **about: Any) -> None:
    """Write the figures, with the other facts about the run, into the results folder."""
    content = {"benchmark": name, **about, "figures": [figure.as_dict() for figure in figures]}
    (RESULTS / f"{name}-{database}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"
