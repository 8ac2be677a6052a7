"""The charts on the overview: accepted, failed and waiting events, by hour and by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from brevo_events.admin.charts import Band, Bar, Chart, Series, bar_chart, number
from brevo_events.choices import InterruptionKind
from brevo_events.figures import Figures, Span
from brevo_events.journal import Interruption
from brevo_events.times import rough_length

DAYS_A_LABEL, HOURS_A_LABEL = 14, 6
# Where each value links to in the list: the tab, and which of an event's times counts.
TABS = (("sent", "finished"), ("failed", "finished"), ("waiting", "captured"))


class Cell(NamedTuple):
    """A value in the table of a chart, and the link to its events, if there are any."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class DeliveryChart:
    """A chart with its legend, and the same figures as rows of a table; ``shaded`` explains its bands."""

    key: str
    title: str
    unit: str
    drawing: Chart
    description: str
    legend: list[tuple[Series, str]]
    shaded: list[tuple[str, str]]
    rows: list[tuple[str, list[Cell], str]]


def delivery_charts(found: Figures, interruptions: Sequence[Interruption], address: str) -> list[DeliveryChart]:
    """Return both charts; ``address`` is the URL of the list, to which each bar links."""
    hours = [(_hour(one.start), _label_of_hour(one.start)) for one in found.hours]
    last = len(found.days) - 1
    days = [
        (_day(one.start), _day(one.start) if (last - place) % DAYS_A_LABEL == 0 else "")
        for place, one in enumerate(found.days)
    ]
    return [
        _chart("hours", _("Last 24 hours"), _("Hour"), found.hours, hours, interruptions, address),
        _chart("days", _("Last 30 days"), _("Day"), found.days, days, interruptions, address),
    ]


def _chart(
    key: str,
    title: str,
    unit: str,
    spans: Sequence[Span],
    names: Sequence[tuple[str, str]],
    interruptions: Sequence[Interruption],
    address: str,
) -> DeliveryChart:
    series = [
        Series("sent", _("accepted")),
        Series("failed", _("failed"), is_below=True),
        Series("waiting", _("still waiting")),
    ]
    bars = [
        Bar(name, (one.sent, one.failed, one.waiting), label, _urls(one, address), _interrupted(one, interruptions))
        for (name, label), one in zip(names, spans, strict=True)
    ]
    totals = [number(sum(column)) for column in zip(*(bar.values for bar in bars), strict=True)]
    bands = [band for each in interruptions if (band := _band(each, spans))]
    return DeliveryChart(
        key=key,
        title=title,
        unit=unit,
        drawing=bar_chart(bars, series, bands),
        description=", ".join(f"{total} {one.label}" for total, one in zip(totals, series, strict=True)),
        legend=list(zip(series, totals, strict=True)),
        shaded=[(kind, text) for kind, text in _shaded() if any(band.key == kind for band in bands)],
        rows=[(bar.name, _cells(bar), bar.note) for bar in reversed(bars)],
    )


def _shaded() -> list[tuple[str, str]]:
    return [(InterruptionKind.HOLD.value, _("on hold")), (InterruptionKind.PAUSE.value, _("paused"))]


def _cells(bar: Bar) -> list[Cell]:
    return [Cell(number(value), url if value else "") for value, url in zip(bar.values, bar.urls, strict=True)]


def _urls(span: Span, address: str) -> list[str]:
    # With its UTC offset, because an hour occurs twice when the clocks go back.
    start, end = (timezone.localtime(moment).isoformat(timespec="minutes") for moment in (span.start, span.end))
    return [
        f"{address}?{urlencode({'status': status, 'when': when, 'from': start, 'to': end})}" for status, when in TABS
    ]


def _band(interruption: Interruption, spans: Sequence[Span]) -> Band | None:
    began, ended = interruption.began_at, _end(interruption)
    if ended <= spans[0].start or began >= spans[-1].end:
        return None
    return Band(interruption.kind, _place(began, spans), _place(ended, spans))


def _place(moment: datetime, spans: Sequence[Span]) -> float:
    """Return the position of a time on the axis, on which all days are equally wide, even those with 23 or 25 hours."""
    for place, span in enumerate(spans):
        if moment < span.end:
            within = (moment - span.start) / (span.end - span.start)
            return (place + max(within, 0.0)) / len(spans)
    return 1.0


def _interrupted(span: Span, interruptions: Sequence[Interruption]) -> str:
    """Return how long delivery was on hold and paused in a span, in words."""
    told = []
    for kind, text in _shaded():
        parts = [
            (min(_end(each), span.end) - max(each.began_at, span.start)).total_seconds()
            for each in interruptions
            if each.kind == kind
        ]
        if (seconds := sum(part for part in parts if part > 0)) > 0:
            told.append(f"{text} {rough_length(seconds)}")
    return ", ".join(told)


def _end(interruption: Interruption) -> datetime:
    return interruption.ended_at if interruption.is_over and interruption.ended_at else timezone.now()


def _local(moment: datetime) -> datetime:
    return timezone.localtime(moment)


def _label_of_hour(moment: datetime) -> str:
    return _time(moment) if _local(moment).hour % HOURS_A_LABEL == 0 else ""


def _time(moment: datetime) -> str:
    return date_format(_local(moment), "H:i")


def _day(moment: datetime) -> str:
    return date_format(_local(moment), "MONTH_DAY_FORMAT")


def _hour(moment: datetime) -> str:
    return f"{_day(moment)}, {_time(moment)}"
