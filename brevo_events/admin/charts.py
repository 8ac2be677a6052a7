"""The geometry of charts: pure functions that turn figures into numbers for ``chart.html``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from django.utils.formats import number_format

HEIGHT = 200  # pixels of the plot, without the labels below it
TOP = 18  # pixels above it, for the figures of the column under the pointer
LABELS = 22  # pixels below it
LINES = 4  # at most, above zero
LEAST = 2  # pixels of the lowest bar: one failure among a thousand accepted events must be visible
LEAST_BELOW = 14  # pixels below zero, if there is a bar, so that the pointer can reach it
LEAST_BAND = 0.4  # percent of the width, so that a short hold is visible
FILLED = 0.76  # of the width available to a bar
DIGIT = 7  # maximum pixels of a character next to the axis


@dataclass(frozen=True, slots=True)
class Series:
    """The meaning of one colour; ``key`` is the end of its class. If it ``is_below``, its bars hang down from zero."""

    key: str
    label: str
    is_below: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A stack of values, from zero outwards, with a name, and perhaps a label below it.

    ``urls`` are the links of the values, one for each, or none at all. ``note``
    follows the values.
    """

    name: str
    values: Sequence[int]
    label: str = ""
    urls: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded span of time; ``start`` and ``end`` are fractions of the width, from 0 to 1."""

    key: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of one series or band; x and width are percentages, y and height pixels."""

    key: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Part:
    """A value: its rectangle, the area that links to its events, and the name of that link."""

    name: str
    url: str
    rect: Rect
    area: Rect


@dataclass(frozen=True, slots=True)
class Column:
    """Everything drawn for one bar; x and width are those of its whole share of the chart."""

    title: str
    label: str
    x: str
    middle: str
    width: str
    anchor: str
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars that fill the available width: pixels for vertical values, percentages for horizontal ones."""

    columns: list[Column]
    bands: list[Rect]
    zero: str
    lines: Sequence[str]
    numbers: Sequence[tuple[str, str]]  # the y and the text of each
    gutter: int  # pixels next to the plot, for the numbers
    top: int = TOP
    plot: int = HEIGHT
    height: int = TOP + HEIGHT + LABELS
    labels: int = TOP + HEIGHT + 15  # the y of their baseline


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts values into pixels: ``zero`` is the y of zero, ``step`` the distance between two lines."""

    zero: float
    pixels: float
    step: int
    lines: range

    def height(self, value: int) -> float:
        return max(value * self.pixels, LEAST)

    def y(self, value: int) -> float:
        return self.zero - value * self.pixels


def bar_chart(bars: Sequence[Bar], series: Sequence[Series], bands: Sequence[Band] = ()) -> Chart:
    """Return the geometry of stacked bars; time runs from left to right in every script."""
    scale = _scale(_highest(bars, series, is_below=False), _highest(bars, series, is_below=True))
    numbers = [(_text(scale.y(value) + 4), number(abs(value))) for value in scale.lines]
    return Chart(
        columns=[_column(bar, series, place, len(bars), scale) for place, bar in enumerate(bars)],
        bands=[_band(band) for band in bands],
        zero=_text(scale.zero),
        lines=[_text(scale.y(value)) for value in scale.lines if value],
        numbers=numbers,
        gutter=max(len(text) for _y, text in numbers) * DIGIT + 8,
    )


def number(value: int) -> str:
    """Write a number with thousands separators, as the language does."""
    return number_format(value, use_l10n=True, force_grouping=True)


def round_step(highest: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, … of which four reach a value."""
    steps: Iterator[int] = (digit * 10**power for power in count() for digit in (1, 2, 5))
    return next(step for step in steps if step * LINES >= highest)


def _highest(bars: Sequence[Bar], series: Sequence[Series], *, is_below: bool) -> int:
    return max(
        (sum(value for value, one in zip(bar.values, series, strict=True) if one.is_below == is_below) for bar in bars),
        default=0,
    )


def _scale(above: int, below: int) -> _Scale:
    step = round_step(max(above, below))
    top = max(math.ceil(above / step), 1) * step
    depth = HEIGHT * below / (top + below)
    if below:
        depth = max(depth, LEAST_BELOW)
    pixels = (HEIGHT - depth) / top
    return _Scale(TOP + HEIGHT - depth, pixels, step, range(-(below // step) * step, top + 1, step))


def _column(bar: Bar, series: Sequence[Series], place: int, columns: int, scale: _Scale) -> Column:
    width = 100 / columns
    left = place * width
    # Labels at both ends must not be cut off.
    anchor = "start" if place == 0 else "end" if place == columns - 1 else "middle"
    figures = [f"{number(value)} {one.label}" for value, one in zip(bar.values, series, strict=True)]
    title = ", ".join([f"{bar.name}: {figures[0]}", *figures[1:], *([bar.note] if bar.note else [])])
    column = Column(title, bar.label, _text(left), _text(left + width / 2), _text(width), anchor)
    ends = {True: scale.zero, False: scale.zero}  # of the stack below zero, and of that above it
    for place_of_value, (value, one) in enumerate(zip(bar.values, series, strict=True)):
        if not value:
            continue
        height = scale.height(value)
        is_first = ends[one.is_below] == scale.zero
        y = ends[one.is_below] if one.is_below else ends[one.is_below] - height
        ends[one.is_below] += height if one.is_below else -height
        x, filled = left + width * (1 - FILLED) / 2, width * FILLED
        # The first value of a stack reacts to the pointer on its whole side of the column, the others only where they
        # are.
        area_y, area_height = (y, height) if not is_first else _side(scale, is_below=one.is_below)
        column.parts.append(
            Part(
                f"{bar.name}: {figures[place_of_value]}",
                bar.urls[place_of_value] if bar.urls else "",
                Rect(one.key, _text(x), _text(y), _text(filled), _text(height)),
                Rect(one.key, _text(left), _text(area_y), _text(width), _text(area_height)),
            )
        )
    return column


def _side(scale: _Scale, *, is_below: bool) -> tuple[float, float]:
    return (scale.zero, TOP + HEIGHT - scale.zero) if is_below else (TOP, scale.zero - TOP)


def _band(band: Band) -> Rect:
    width = max((band.end - band.start) * 100, LEAST_BAND)
    return Rect(band.key, _text(min(band.start * 100, 100 - width)), str(TOP), _text(width), str(HEIGHT))


def _text(value: float) -> str:
    # Not localised: SVG doesn't accept a decimal comma.
    return f"{value:.2f}".rstrip("0").rstrip(".")
