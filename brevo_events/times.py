"""Times and durations as the pages write them: to the second, with a 24-hour clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _


def clock(moment: datetime) -> str:
    """Return the time of day, as in 14:59:23."""
    return date_format(timezone.localtime(moment), "H:i:s")


def day(moment: datetime) -> str:
    """Return the date."""
    return date_format(timezone.localtime(moment), "DATE_FORMAT")


def moment_at(moment: datetime) -> str:
    """Return a time as part of a sentence: today at 14:59:23."""
    if timezone.localtime(moment).date() == timezone.localdate():
        return _("today at %s") % clock(moment)
    return _("on %(day)s at %(time)s") % {"day": day(moment), "time": clock(moment)}


def exactly(moment: datetime) -> str:
    """Return a time as it follows "since": 14:59:23, with the date unless it is today."""
    if timezone.localtime(moment).date() == timezone.localdate():
        return clock(moment)
    return f"{day(moment)}, {clock(moment)}"


def length(seconds: float) -> str:
    """Return a duration in its two largest units, with a fraction below ten seconds."""
    seconds = max(seconds, 0.0)
    if round(seconds, 1) < 10:
        return _("%s s") % number_format(seconds, 2 if seconds < 1 else 1, use_l10n=True)
    return rough_length(seconds)


def rough_length(seconds: float) -> str:
    """Return a duration in its two largest units, to the second."""
    whole = max(round(seconds), 0)
    sizes = ((86_400, _("%s d")), (3600, _("%s h")), (60, _("%s min")), (1, _("%s s")))
    first = next((place for place, (size, _unit) in enumerate(sizes) if whole >= size), len(sizes) - 1)
    parts: list[str] = []
    for size, unit in sizes[first : first + 2]:
        count, whole = divmod(whole, size)
        parts += [unit % count] if count or not parts else []
    return " ".join(parts)


def in_words(seconds: float) -> str:
    """Return a duration in words, in its two largest units."""
    if seconds < 60:
        return _("less than a minute")
    now = timezone.now()
    return timesince(now - timedelta(seconds=seconds), now)


def between(earlier: datetime, later: datetime) -> str:
    """Return the duration between two times."""
    return length((later - earlier).total_seconds())


def ago(moment: datetime) -> str:
    """Return how long ago a time was, or how far it is in the future."""
    seconds = (timezone.now() - moment).total_seconds()
    wait = rough_length(abs(seconds))
    return _("%s ago") % wait if seconds >= 0 else _("in %s") % wait


def zone() -> str:
    """Return the name of the time zone that all these times are in."""
    return timezone.get_current_timezone_name()
