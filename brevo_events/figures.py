"""The figures of the overview: what went out in the last month, what Brevo answered, and what fails."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.core.cache import cache
from django.db.models import Max, QuerySet
from django.utils import timezone

from brevo_events.choices import Status
from brevo_events.hours import HOUR, Ended, count_hours
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.retry import brevo_error, meaning

CACHED_FOR = 60  # seconds
HOURS, DAYS = 24, 30
WAITING_LIMIT = 5000
WAITING_SAMPLE = 250
NEWEST_REQUESTS = 1000
NEWEST_FAILED = 300
WORST = 10
MAX_MESSAGE_LENGTH = 200

Captured = list[tuple[datetime, int]]  # when, and how many

_ADDRESS = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+")


@dataclass(frozen=True, slots=True)
class Span:
    """Hold what ended in an hour or on a day, and what was captured in it and still waits."""

    start: datetime
    sent: int
    failed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Requests:
    """
    Hold how Brevo answered the newest requests, at most 1,000.

    ``codes`` has a number for each response code and, where no answer came,
    for each kind of failure. The times, in milliseconds, are of answers only.
    """

    count: int
    since: datetime | None
    codes: list[tuple[int | None, str, int]]
    median: int | None
    percentile_95: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Hold how many of the newest failed events, at most 300 of the last month, failed alike; without addresses."""

    name: str
    response_code: int | None
    error: str
    message: str
    count: int

    @property
    def meaning(self) -> str:
        """Return what the answer means, for those who may not see Brevo's message."""
        return str(meaning(self.response_code, "" if self.response_code else self.error))


@dataclass(frozen=True, slots=True)
class Figures:
    """
    Hold what the overview shows.

    ``waiting`` counts up to 5,000; where more than 250 wait, the spans get
    their share of it by a sample, a score of events more or less.
    ``is_complete`` is False while older days are still to be counted.
    """

    counted_at: datetime
    hours: list[Span]
    days: list[Span]
    is_complete: bool
    waiting: int
    last_sent_at: datetime | None
    requests: Requests
    failures: list[Failure]


def figures() -> Figures:
    """Return the figures for the current time zone, at most a minute old."""
    key = f"brevo_events.figures.{timezone.get_current_timezone_name()}".replace(" ", "_")
    found: Figures | None = cache.get(key)
    if found is None:
        found = collect()
        if found.is_complete:
            cache.set(key, found, CACHED_FOR)
    return found


def collect() -> Figures:
    """Return the figures as they are now, by a few indexed queries that do not grow with the outbox."""
    now = timezone.localtime()
    hours = _hours(now)
    ended = count_hours(hours)
    waiting, captured = _waiting()
    sent = _events().filter(status=Status.SENT, finished_at__isnull=False).order_by("-finished_at")
    return Figures(
        counted_at=now,
        hours=_by_hour(hours[-HOURS:], ended, captured),
        days=_by_day(hours, ended, captured),
        is_complete=len(ended) == len(hours),
        waiting=waiting,
        last_sent_at=sent.values_list("finished_at", flat=True).first(),
        requests=_requests(),
        failures=_failures(since=hours[0]),
    )


def _hours(now: datetime) -> list[datetime]:
    """Return the beginnings of the hours from midnight 29 days ago to now, as the time zone of ``now`` cuts them."""
    last = now.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    first_day = now.date() - timedelta(days=DAYS - 1)
    hours = [last]
    # Counted in UTC: a day on which the clock is changed has 23 hours, or 25.
    while timezone.localtime(hours[-1] - HOUR).date() >= first_day:
        hours.append(hours[-1] - HOUR)
    return hours[::-1]


def _by_hour(hours: Sequence[datetime], ended: dict[datetime, Ended], captured: Captured) -> list[Span]:
    waiting = Counter[int]()
    for moment, count in captured:
        waiting[(moment - hours[0]) // HOUR] += count
    return [Span(hour, *ended.get(hour, Ended()), waiting[number]) for number, hour in enumerate(hours)]


def _by_day(hours: Sequence[datetime], ended: dict[datetime, Ended], captured: Captured) -> list[Span]:
    firsts: dict[date, datetime] = {}
    sent, failed, waiting = Counter[date](), Counter[date](), Counter[date]()
    for moment, count in captured:
        waiting[timezone.localtime(moment).date()] += count
    for hour in hours:
        day = timezone.localtime(hour).date()
        firsts.setdefault(day, hour)
        counts = ended.get(hour, Ended())
        sent[day] += counts.sent
        failed[day] += counts.failed
    return [Span(first, sent[day], failed[day], waiting[day]) for day, first in firsts.items()]


def _waiting() -> tuple[int, Captured]:
    """Return how many events wait and when they were captured; beyond 250, some of them stand for all."""
    # What a user has ended is due until a worker has settled it, which may be long where delivery is paused.
    pks = sorted(
        _events().due_sometime().unfinished().order_by("due_at", "pk").values_list("pk", flat=True)[:WAITING_LIMIT]
    )
    step = math.ceil(len(pks) / WAITING_SAMPLE) or 1
    sample = _events().filter(pk__in=pks[::step]).order_by("pk").values_list("created_at", flat=True)
    weights = [min(step, len(pks) - start) for start in range(0, len(pks), step)]
    return len(pks), list(zip(sample, weights, strict=False))


def _requests() -> Requests:
    columns = ("response_code", "error", "duration_ms", "started_at")
    newest = list(_attempts().order_by("-pk").values_list(*columns)[:NEWEST_REQUESTS])
    times = sorted(duration for code, _, duration, _ in newest if code is not None)
    codes = Counter((code, "" if code is not None else error) for code, error, _, _ in newest)
    return Requests(
        count=len(newest),
        since=newest[-1][-1] if newest else None,
        codes=[(code, error, count) for (code, error), count in codes.most_common()],
        median=_percentile(times, 50),
        percentile_95=_percentile(times, 95),
    )


def _percentile(ascending: Sequence[int], percent: int) -> int | None:
    """Return the lowest value that so many percent of the values do not exceed."""
    return ascending[math.ceil(len(ascending) * percent / 100) - 1] if ascending else None


def _failures(since: datetime) -> list[Failure]:
    failed = _events().filter(status=Status.FAILED, finished_at__gte=since).order_by("-finished_at")
    events = list(failed.values_list("pk", "name", "response_code")[:NEWEST_FAILED])
    of_these = _attempts().filter(event__in=[pk for pk, _, _ in events])
    last = of_these.order_by().values("event").annotate(last=Max("pk")).values_list("last", flat=True)
    rows = _attempts().filter(pk__in=list(last)).values_list("event", "error", "answer")
    answers = {event: (_without_addresses(error), _message(answer)) for event, error, answer in rows}
    alike = Counter((name, code, *answers.get(pk, ("", ""))) for pk, name, code in events)
    return [Failure(*what, count) for what, count in alike.most_common(WORST)]


def _message(answer: str) -> str:
    """Return Brevo's message, without the addresses in it: they would tell alike failures apart, and whom they met."""
    return _without_addresses(" ".join(brevo_error(answer)[1].split()))[:MAX_MESSAGE_LENGTH]


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("…@…", text)


def _events() -> OutboxEventQuerySet:
    return OutboxEvent.objects.on_primary()


def _attempts() -> QuerySet[SendAttempt]:
    return SendAttempt._default_manager.using(_events().db)
