"""Charts as SVG: pure functions, figures in and markup out, with classes for the colours and no script or style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

HEIGHT = 200  # pixels of the plot, without the labels below it
TOP = 16  # pixels above the highest line, for its number
LABELS = 22  # pixels below the plot
LEAST = 2  # pixels of the lowest bar: one failure beside a thousand sent events must be seen
FILLED = 0.76  # of the width that a bar has


@dataclass(frozen=True, slots=True)
class Series:
    """Hold what one colour stands for; ``key`` is the end of its class."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Hold a bar of a chart: what it says when pointed at, its values from the bottom up, and a label below or none."""

    name: str
    values: Sequence[int]
    label: str = ""


def bar_chart(bars: Sequence[Bar], series: Sequence[Series], *, key: str, title: str, description: str) -> SafeString:
    """
    Draw stacked bars, as wide as there is room; texts keep their size.

    ``key`` makes the ids of the page; time goes from left to right in every script.
    """
    highest = nice_ceiling(max((sum(bar.values) for bar in bars), default=0))
    width = 100 / max(len(bars), 1)
    return format_html(
        '<svg class="brevo-chart" role="img" aria-labelledby="{key}-title {key}-desc" direction="ltr" width="100%" '
        'height="{height}"><title id="{key}-title">{title}</title><desc id="{key}-desc">{description}</desc>'
        "{lines}{bars}{numbers}{labels}</svg>",
        key=key,
        height=TOP + HEIGHT + LABELS,
        title=title,
        description=description,
        lines=format_html_join(
            "",
            '<line class="brevo-grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>',
            ((y,) for y in (TOP, TOP + HEIGHT // 2, TOP + HEIGHT)),
        ),
        bars=format_html_join(
            "", "{}", ((_bar(bar, series, place * width, width, highest),) for place, bar in enumerate(bars))
        ),
        numbers=format_html_join(
            "",
            '<text class="brevo-axis" x="0" y="{}">{}</text>',
            ((TOP - 3, number(highest)), (TOP + HEIGHT // 2 - 3, number(highest // 2))),
        ),
        labels=format_html_join(
            "",
            '<text class="brevo-axis" x="{}%" y="{}" text-anchor="{}">{}</text>',
            (
                (_round((place + 0.5) * width), TOP + HEIGHT + 15, _anchor(place, len(bars)), bar.label)
                for place, bar in enumerate(bars)
                if bar.label
            ),
        ),
    )


def share_bar(share: float) -> SafeString:
    """Draw a share from 0 to 1 as a bar; the number is to be written beside it."""
    return format_html(
        '<svg class="brevo-share" aria-hidden="true" focusable="false" width="100%" height="10">'
        '<rect class="brevo-share-all" width="100%" height="10" rx="3"/>'
        '<rect class="brevo-share-part" width="{}%" height="10" rx="3"/></svg>',
        _round(100 * min(max(share, 0.0), 1.0)),
    )


def number(value: int) -> str:
    """Write a number in groups of thousands, as the language does."""
    return number_format(value, use_l10n=True, force_grouping=True)


def nice_ceiling(value: int) -> int:
    """Return a round number that is not below the value, and even: half of it is labelled too."""
    if value < 10:
        return max(value + value % 2, 2)
    tenth: int = 10 ** (len(str(value)) - 2)
    return next(step * tenth for step in (10, 12, 16, 20, 30, 40, 60, 80, 100) if step * tenth >= value)


def _bar(bar: Bar, series: Sequence[Series], left: float, width: float, highest: int) -> SafeString:
    rects = []
    bottom: float = TOP + HEIGHT
    for value, one in zip(bar.values, series, strict=True):
        if value:
            height = max(HEIGHT * value / highest, LEAST)
            bottom -= height
            rects.append(
                (
                    one.key,
                    _round(left + width * (1 - FILLED) / 2),
                    _round(bottom),
                    _round(width * FILLED),
                    _round(height),
                )
            )
    return format_html(
        # The empty part can be pointed at too.
        '<g><title>{}</title><rect class="brevo-hover" x="{}%" y="{}" width="{}%" height="{}"/>{}</g>',
        f"{bar.name}: "
        + ", ".join(f"{number(value)} {one.label}" for value, one in zip(bar.values, series, strict=True)),
        _round(left),
        TOP,
        _round(width),
        HEIGHT,
        format_html_join("", '<rect class="brevo-fill-{}" x="{}%" y="{}" width="{}%" height="{}"/>', rects),
    )


def _anchor(place: int, count: int) -> str:
    """Return how a label is placed so that it is cut off at neither end."""
    if place == 0:
        return "start"
    return "end" if place == count - 1 else "middle"


def _round(value: float) -> str:
    # Not by the language: a decimal comma is no number to SVG.
    return f"{value:.2f}".rstrip("0").rstrip(".")
