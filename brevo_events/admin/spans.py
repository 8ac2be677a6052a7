"""Spans of time for the list: the values of form fields, and the meaning of presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

FIELD_FORMAT = "%Y-%m-%dT%H:%M"  # the format of an <input type="datetime-local">
YEARS = range(1970, 9999)  # with room for any time zone


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time from ``start``, up to but not including ``end``; None leaves a side open."""

    start: datetime | None = None
    end: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.start or self.end)

    def on(self, column: str) -> dict[str, datetime]:
        """Return the lookups for a column whose value lies in the span."""
        bounds = {f"{column}__gte": self.start, f"{column}__lt": self.end}
        return {lookup: moment for lookup, moment in bounds.items() if moment}


ANY_TIME = Span()


def moment_of(text: str) -> datetime | None:
    """Return the time in a form field, in the current time zone, or None if there is none."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    if found is None or found.year not in YEARS:
        return None
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def field_of(moment: datetime | None) -> str:
    """Return a time as the value of a form field."""
    return timezone.localtime(moment).strftime(FIELD_FORMAT) if moment else ""


def parameter_of(moment: datetime | None) -> str:
    """Return a time as the value of a parameter, from which ``moment_of`` returns exactly this time."""
    text = field_of(moment)
    if moment is None or _in_utc(moment_of(text)) == _in_utc(moment):
        return text
    # It has seconds, or occurs twice because the clocks go back.
    return timezone.localtime(moment).isoformat()


def preset(name: str, now: datetime) -> Span | None:
    """Return the span that a preset means at a given time, or None if there is no such preset."""
    if (begin := _BEGINNINGS.get(name)) is None:
        return None
    return Span(begin(now), _midnight(now, 0) if name == "yesterday" else None)


def _in_utc(moment: datetime | None) -> datetime | None:
    # A time that occurs twice isn't equal to any time of another zone.
    return moment and moment.astimezone(UTC)


def _midnight(now: datetime, days_ago: int) -> datetime:
    # Not 24 hours each, because the clocks may change in between.
    day = timezone.localtime(now).date() - timedelta(days=days_ago)
    return timezone.make_aware(datetime(day.year, day.month, day.day))


_BEGINNINGS: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda now: now - timedelta(hours=1),
    "today": lambda now: _midnight(now, 0),
    "yesterday": lambda now: _midnight(now, 1),
    "week": lambda now: now - timedelta(days=7),
    "month": lambda now: now - timedelta(days=30),
}
PRESETS: dict[str, str | Promise] = {
    "hour": _("Past hour"),
    "today": _("Today"),
    "yesterday": _("Yesterday"),
    "week": _("Past 7 days"),
    "month": _("Past 30 days"),
}
