"""The figures on the overview: what was sent in the last month, how Brevo answered, and what fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.core.cache import cache
from django.utils import timezone

from brevo_events.choices import Status
from brevo_events.clock import in_seconds
from brevo_events.failures import FailureGroup, failure_groups
from brevo_events.hours import HOUR, Ended, count_hours
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.names import Names, names, percentile

CACHED_FOR = 10  # seconds
HOURS, DAYS = 24, 30
WAITING_LIMIT = 5000
NEWEST_REQUESTS = 1000
NEWEST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """How many events ended in an hour or day, up to ``end``, and how many captured in it are still waiting."""

    start: datetime
    end: datetime
    sent: int
    failed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Requests:
    """
    How Brevo answered the newest requests, at most 1,000.

    ``codes`` has a count for each response code, and for each kind of failure
    without an answer. The times, in milliseconds, only include answers.
    """

    count: int
    since: datetime | None
    codes: list[tuple[int | None, str, int]]
    median: int | None
    percentile_95: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What the overview shows about the past: charts, failures, and statistics for each event name.

    ``waiting`` counts up to 5,000 events, those due first. ``is_complete`` is
    False while older days have yet to be counted.
    """

    counted_at: datetime
    hours: list[Span]
    days: list[Span]
    is_complete: bool
    waiting: int
    failures: list[FailureGroup]
    names: Names


def figures() -> Figures:
    """Return the figures for the current time zone, at most a few seconds old."""
    key = f"brevo_events.figures.{timezone.get_current_timezone_name()}".replace(" ", "_")
    found: Figures | None = cache.get(key)
    if found is None:
        found = collect()
        if found.is_complete:
            cache.set(key, found, CACHED_FOR)
    return found


def collect() -> Figures:
    """Return the current figures, with a few indexed queries whose cost doesn't grow with the outbox."""
    now = timezone.localtime()
    hours = _hours(now)
    ended = count_hours(hours)
    waiting = _waiting()
    captured = [moment for moment, _name in waiting]
    return Figures(
        counted_at=now,
        hours=_by_hour(hours[-HOURS:], ended, captured),
        days=_by_day(hours, ended, captured),
        is_complete=len(ended) == len(hours),
        waiting=len(waiting),
        failures=failure_groups(since=hours[0]),
        names=names(waiting={name for _moment, name in waiting}),
    )


def newest_requests() -> Requests:
    """Return how Brevo answered the newest requests."""
    columns = ("response_code", "error", "duration_ms", "started_at")
    newest = list(SendAttempt.objects.order_by("-pk").values_list(*columns)[:NEWEST_REQUESTS])
    times = sorted(duration for code, _, duration, _ in newest if code is not None)
    codes = Counter((code, "" if code is not None else error) for code, error, _, _ in newest)
    return Requests(
        count=len(newest),
        since=newest[-1][-1] if newest else None,
        codes=[(code, error, count) for (code, error), count in codes.most_common()],
        median=percentile(times, 50),
        percentile_95=percentile(times, 95),
    )


def ended_by_name(seconds: float) -> Counter[tuple[str, str]]:
    """Return how many events ended recently, by status (sent or failed) and name; at most the newest 10,000 of each."""
    lately = OutboxEvent.objects.filter(finished_at__gte=in_seconds(-seconds)).order_by("-finished_at")
    return Counter(
        (str(status), name)
        for status in (Status.SENT, Status.FAILED)
        for name in lately.filter(status=status).values_list("name", flat=True)[:NEWEST_ENDED]
    )


def _hours(now: datetime) -> list[datetime]:
    """Return the start of each hour from midnight 29 days ago to now, in the time zone of ``now``."""
    last = now.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    first_day = now.date() - timedelta(days=DAYS - 1)
    hours = [last]
    # Counted in UTC, because a day on which the clocks change has 23 or 25 hours.
    while timezone.localtime(hours[-1] - HOUR).date() >= first_day:
        hours.append(hours[-1] - HOUR)
    return hours[::-1]


def _by_hour(hours: Sequence[datetime], ended: dict[datetime, Ended], captured: Sequence[datetime]) -> list[Span]:
    waiting = Counter((moment - hours[0]) // HOUR for moment in captured)
    return [Span(hour, hour + HOUR, *ended.get(hour, Ended()), waiting[number]) for number, hour in enumerate(hours)]


def _by_day(hours: Sequence[datetime], ended: dict[datetime, Ended], captured: Sequence[datetime]) -> list[Span]:
    firsts: dict[date, datetime] = {}
    sent, failed = Counter[date](), Counter[date]()
    waiting = Counter(timezone.localtime(moment).date() for moment in captured)
    for hour in hours:
        day = timezone.localtime(hour).date()
        firsts.setdefault(day, hour)
        counts = ended.get(hour, Ended())
        sent[day] += counts.sent
        failed[day] += counts.failed
    tomorrow = datetime.combine(max(firsts) + timedelta(days=1), time.min)
    ends = [*list(firsts.values())[1:], timezone.make_aware(tomorrow)]
    return [
        Span(first, end, sent[day], failed[day], waiting[day])
        for (day, first), end in zip(firsts.items(), ends, strict=True)
    ]


def _waiting() -> list[tuple[datetime, str]]:
    """Return the capture times and names of the events that are due first."""
    # An event that a user has ended is due until a worker has settled it, which may take long while delivery is paused.
    first = OutboxEvent.objects.due_sometime().unfinished().order_by("due_at", "pk")
    return list(first.values_list("created_at", "name")[:WAITING_LIMIT])
