"""How many events ended in each hour. A past hour is counted once, and its count is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet, Value
from django.utils import timezone

from brevo_events.choices import Status
from brevo_events.models import HourlyCount, OutboxEvent

HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=10)  # after this, no event can end in the hour any more, even if the hosts' clocks differ
PATIENCE = 2.0  # seconds that a reader may have to wait
AT_ONCE = 24  # hours in a statement
KEPT = timedelta(days=3)  # in addition to the month shown, which begins earlier in other time zones
LATEST = 100  # events that are compared with the counts


class Ended(NamedTuple):
    """How many events ended as sent and as failed."""

    sent: int = 0
    failed: int = 0


def count_hours(hours: Sequence[datetime]) -> dict[datetime, Ended]:
    """
    Return how many events ended in each hour, given by its start, oldest first and without gaps.

    Hours that haven't been counted yet are counted now, newest first; if that
    takes too long, the rest is left out, and the next call continues with it.
    An event that failed and was sent later counts in both hours; one that has
    been pruned still counts.
    """
    latest = list(OutboxEvent.objects.order_by("-pk").values_list("pk", "finished_at")[:LATEST])
    known = _known(hours, latest)
    counted: dict[datetime, Ended] = {}
    give_up_at = time.monotonic() + PATIENCE
    for batch in _in_batches([hour for hour in reversed(hours) if hour not in known]):
        counted |= _count(batch)
        if time.monotonic() > give_up_at:
            break
    _keep(counted, newest=max((pk for pk, _ in latest), default=0), oldest=hours[0])
    return known | counted


def _known(hours: Sequence[datetime], latest: list[tuple[int, datetime | None]]) -> dict[datetime, Ended]:
    wanted = set(hours)
    known = {row.hour: row for row in HourlyCount.objects.filter(hour__gte=hours[0]) if row.hour in wanted}
    for pk, finished_at in latest:
        row = known.get(hours[0] + (finished_at - hours[0]) // HOUR * HOUR) if finished_at else None
        if row and pk > row.newest:
            # An event that ended before it was captured was imported or restored, perhaps with others.
            HourlyCount.objects.all().delete()
            return {}
    return {hour: Ended(row.sent, row.failed) for hour, row in known.items()}


def _count(hours: list[datetime]) -> dict[datetime, Ended]:
    # One index range per hour, because grouping by hour calls Python for each row on SQLite.
    ranges = [_range(hour, number) for number, hour in enumerate(hours)]
    counts = {(number, status): count for status, number, count in ranges[0].union(*ranges[1:], all=True)}
    return {
        hour: Ended(counts.get((number, Status.SENT), 0), counts.get((number, Status.FAILED), 0))
        for number, hour in enumerate(hours)
    }


def _range(hour: datetime, number: int) -> QuerySet[OutboxEvent, Any]:
    return (
        OutboxEvent.objects.filter(
            status__in=(Status.SENT, Status.FAILED), finished_at__gte=hour, finished_at__lt=hour + HOUR
        )
        .order_by()
        .values("status")
        .annotate(number=Value(number), count=Count("pk"))
        .values_list("status", "number", "count")
    )


def _keep(counted: dict[datetime, Ended], newest: int, *, oldest: datetime) -> None:
    over = timezone.now() - HOUR - SETTLED
    rows = [
        HourlyCount(hour=hour, sent=ended.sent, failed=ended.failed, newest=newest)
        for hour, ended in counted.items()
        if hour < over
    ]
    if rows:
        # Another process may have counted them at the same time, with the same result.
        HourlyCount.objects.bulk_create(rows, ignore_conflicts=True)
        HourlyCount.objects.filter(hour__lt=oldest - KEPT).delete()


def _in_batches(hours: list[datetime]) -> Iterator[list[datetime]]:
    for start in range(0, len(hours), AT_ONCE):
        yield hours[start : start + AT_ONCE]
