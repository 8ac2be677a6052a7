"""Statistics for each event name: how many, how soon accepted, and which have stopped coming."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone

from brevo_events import unions
from brevo_events.choices import Reason, Status
from brevo_events.models import OutboxEvent

COUNTED = timedelta(days=7)
NEWEST = 10_000  # events counted for each status
TIMED = 2000  # events whose time from capture to acceptance is used
SHOWN = 50  # names

# Whether a name has stopped is determined from a sample of a month: the last accepted events of every six hours.
MONTH = timedelta(days=30)
PART = timedelta(hours=6)
OF_PART = 50  # events
REGULAR = 10  # parts in which a name must have occurred
QUIET = 2  # times the longest gap in the month

# All of it comes from the index of the status, without reading the rows.
BY_NAME = """
SELECT %s AS part, newest.name, COUNT(*), MIN(newest.finished_at), MAX(newest.finished_at) FROM (
    SELECT e.name, e.finished_at FROM {events} e
    WHERE e.status = %s AND e.finished_at >= %s AND e.finished_at < %s ORDER BY e.finished_at DESC LIMIT %s
) newest GROUP BY newest.name
"""
CANCELLED = """
SELECT newest.name, newest.reason, COUNT(*), MAX(newest.finished_at) FROM (
    SELECT e.name, e.reason, e.finished_at FROM {events} e
    WHERE e.status = %s AND e.finished_at >= %s ORDER BY e.finished_at DESC LIMIT %s
) newest GROUP BY newest.name, newest.reason
"""


@dataclass(slots=True)
class NamedEvents:
    """
    The events of one name that ended recently.

    ``saved`` counts those that were superseded before they were sent.
    ``median`` and ``percentile_95`` are seconds from capture to acceptance,
    including delays; None if none of the newest 2,000 accepted events has the
    name. ``is_quiet`` says that a name that used to occur regularly hasn't
    occurred for more than twice its longest gap in a month. A busy outbox is
    only sampled that far back, so ``seen_at`` may be a few hours before the
    last of them.
    """

    name: str
    accepted: int = 0
    failed: int = 0
    saved: int = 0
    median: float | None = None
    percentile_95: float | None = None
    accepted_at: datetime | None = None
    seen_at: datetime | None = None
    is_quiet: bool = False

    @property
    def failed_share(self) -> float:
        """The share of ended events that failed, from 0 to 1."""
        return self.failed / ((self.accepted + self.failed) or 1)


@dataclass(frozen=True, slots=True)
class Names:
    """
    The events of each name: quiet names first, then those with the most events.

    Events are counted if they ended since ``since``: a week ago, or later if
    more than 10,000 were accepted in a week. ``first_at`` is when the first of
    them was accepted, at most a week ago. ``saved`` is how many events were
    superseded in a week; up to 10,000 cancelled events are read, and
    ``is_saved_capped`` says that there are more.
    """

    since: datetime
    first_at: datetime
    is_capped: bool = False
    saved: int = 0
    is_saved_capped: bool = False
    rows: list[NamedEvents] = field(default_factory=list)

    def per_hour(self, count: int) -> float:
        """Return a number of events per hour; a new shop has no rate until its first day is over."""
        least = timedelta(minutes=1) if self.is_capped else timedelta(days=1)
        return count / (max(timezone.now() - self.first_at, least) / timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The events of one name in a part of the month, from the sample."""

    first_at: datetime
    last_at: datetime


def names(waiting: Collection[str] = ()) -> Names:
    """Return the statistics for each name, with six bounded statements; a name that is ``waiting`` isn't quiet."""
    now = timezone.now()
    found: defaultdict[str, NamedEvents] = defaultdict(lambda: NamedEvents(""))
    newest, sample = _accepted(now)
    is_capped = sum(count for count, _seen in newest.values()) >= NEWEST
    oldest = min((seen.first_at for _count, seen in newest.values()), default=now)
    since = oldest if is_capped else now - COUNTED
    # If a name occurs once a week, the first event of this week isn't the first of all.
    first_at = max(since, min((parts[0].first_at for parts in sample.values()), default=now))
    for name, (count, seen) in newest.items():
        found[name].accepted = count
        _saw(found[name], seen.last_at, is_accepted=True)
    for name, parts in sample.items():
        _saw(found[name], parts[-1].last_at, is_accepted=True)
    _add_failed(found, since, now)
    saved, of_cancelled = _add_saved(found, now)
    _add_times(found)
    for name, row in found.items():
        row.name = name
        row.is_quiet = name not in waiting and _is_quiet(sample.get(name, []), row.seen_at, now)
    ordered = sorted(found.values(), key=lambda row: (not row.is_quiet, -row.accepted - row.failed, row.name))
    return Names(since, first_at, is_capped, saved, of_cancelled >= NEWEST, ordered[:SHOWN])


def percentile(ascending: Sequence[Any], percent: int) -> Any:
    """Return the lowest value that this percentage of the values doesn't exceed, or None without values."""
    return ascending[math.ceil(len(ascending) * percent / 100) - 1] if ascending else None


def _accepted(now: datetime) -> tuple[dict[str, tuple[int, _Seen]], dict[str, list[_Seen]]]:
    """Return the newest accepted events of each name, and the sample of a month, oldest first."""
    moment = unions.moments()
    # Slightly after now, because the hosts' clocks differ.
    end = now + timedelta(minutes=10)
    ranges = [(0, Status.SENT, now - COUNTED, end, NEWEST)]
    for part in range(MONTH // PART, 0, -1):
        start = now - part * PART
        ranges.append((part, Status.SENT, start, start + PART if part > 1 else end, OF_PART))
    newest, sample = {}, defaultdict(list)
    # In the order of the ranges, because the order of a statement's rows isn't guaranteed.
    for part, name, count, first, last in sorted(unions.each(BY_NAME, ranges), key=lambda row: -row[0]):
        seen = _Seen(moment(first), moment(last))
        if part:
            sample[name].append(seen)
        else:
            newest[name] = (count, seen)
    return newest, dict(sample)


def _add_failed(found: defaultdict[str, NamedEvents], since: datetime, now: datetime) -> None:
    moment = unions.moments()
    parameters = (0, Status.FAILED, since, now + timedelta(minutes=10), NEWEST)
    for _part, name, count, _first, last in unions.each(BY_NAME, [parameters]):
        found[name].failed = count
        _saw(found[name], moment(last))


def _add_saved(found: defaultdict[str, NamedEvents], now: datetime) -> tuple[int, int]:
    """Add the superseded events; return how many there were, among how many cancelled events."""
    moment, saved, cancelled = unions.moments(), 0, 0
    for name, reason, count, last in unions.rows(CANCELLED, [Status.CANCELLED, now - COUNTED, NEWEST]):
        cancelled += count
        if reason == Reason.SUPERSEDED:
            saved += count
            found[name].saved = count
            _saw(found[name], moment(last))
    return saved, cancelled


def _saw(row: NamedEvents, moment: datetime, *, is_accepted: bool = False) -> None:
    row.seen_at = max(row.seen_at or moment, moment)
    if is_accepted:
        row.accepted_at = max(row.accepted_at or moment, moment)


def _add_times(found: defaultdict[str, NamedEvents]) -> None:
    accepted = OutboxEvent.objects.finished_between(Status.SENT, None, None).order_by("-finished_at")
    times = defaultdict(list)
    newest: Any = accepted.values_list("name", "created_at", "finished_at")[:TIMED]
    for name, created_at, finished_at in newest:
        times[name].append(max((finished_at - created_at).total_seconds(), 0.0))
    for name, some in times.items():
        some.sort()
        found[name].median, found[name].percentile_95 = percentile(some, 50), percentile(some, 95)


def _is_quiet(parts: list[_Seen], seen_at: datetime | None, now: datetime) -> bool:
    if len(parts) < REGULAR or seen_at is None:
        return False
    silences = (later.first_at - earlier.last_at for earlier, later in pairwise(parts))
    return now - seen_at > QUIET * max(PART, *silences)
