"""How long events are kept: what prune deletes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import reduce
from operator import or_

from django.db import connections, transaction
from django.db.models import OuterRef, Q
from django.utils import timezone

from brevo_events import interruptions
from brevo_events.choices import Status
from brevo_events.clock import in_seconds
from brevo_events.conf import settings
from brevo_events.journal import Interruption
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet, has_like, in_batches

BATCH = 500  # events in one transaction
ONE_WRITER_BATCH = 100  # events, on a database with a single writer: each transaction holds up all others
DAY = 24 * 3600  # seconds


def prune(*, days: float | None = None, failed_days: float | None = None) -> Iterator[int]:
    """
    Delete old finished events with their attempts; yield the number of events after each transaction.

    ``days`` defaults to RETENTION_DAYS and ``failed_days`` to
    FAILED_RETENTION_DAYS. Superseded events are kept as long as sent ones,
    because they show what became of a cart. There are rests between
    transactions, so that others can write on a database with a single writer.
    Interruptions of delivery are kept for the longer of the two periods.
    """
    soonest = settings.RETENTION_DAYS if days is None else days
    interruptions.settle(before=timezone.now() - timedelta(days=soonest))
    _prune_journal(days, failed_days)
    for events in prunable(days=days, failed_days=failed_days):
        has_row_locks = connections[events.db].features.has_select_for_update
        at_once = BATCH if has_row_locks else min(BATCH, ONE_WRITER_BATCH)
        ended_at, last = None, 0
        while True:
            left = events if ended_at is None else events.filter(finished_at__gte=ended_at)
            found = left.exclude(finished_at=ended_at, pk__lte=last) if last else left
            batch = list(found.order_by("finished_at", "pk").values_list("pk", "finished_at")[:at_once])
            if not batch:
                break
            last, ended_at = batch[-1]
            began = time.monotonic()
            deleted = _delete(events.filter(pk__in=[pk for pk, _ in batch]))
            took = time.monotonic() - began
            yield deleted
            time.sleep(min(took, 1.0))


def _prune_journal(days: float | None, failed_days: float | None) -> None:
    kept = max(
        settings.RETENTION_DAYS if days is None else days,
        settings.FAILED_RETENTION_DAYS if failed_days is None else failed_days,
    )
    old = Interruption.objects.filter(ended_at__lt=in_seconds(-kept * DAY)).values_list("pk", flat=True)
    for batch in in_batches(list(old)):
        Interruption.objects.filter(pk__in=batch).delete()


def prunable(*, days: float | None = None, failed_days: float | None = None) -> list[OutboxEventQuerySet]:
    """
    Return the events that prune() deletes, as disjoint querysets.

    An event that is newer than an unsent one of its contact and object is kept
    as long as that one: otherwise a resend would take a stale cart for the
    newest.
    """
    days = settings.RETENTION_DAYS if days is None else days
    failed_days = settings.FAILED_RETENTION_DAYS if failed_days is None else failed_days
    unsent = [(Q(status=Status.FAILED), failed_days), (Q(status=Status.CANCELLED), days)]
    stays = reduce(or_, (of_kind & ~_is_older_than(kept) for of_kind, kept in unsent))
    # An event that a user has cancelled stays due until a worker has released the events behind it.
    free = OutboxEvent.objects.filter(due_at=None).exclude(
        has_like(OutboxEvent.objects.filter(stays), pk__lt=OuterRef("pk"))
    )
    return [free.filter(of_kind & _is_older_than(kept)) for of_kind, kept in [*unsent, (Q(status=Status.SENT), days)]]


def _is_older_than(days: float) -> Q:
    return Q(finished_at__lt=in_seconds(-days * DAY))


def _delete(events: OutboxEventQuerySet) -> int:
    with transaction.atomic(using=events.db):
        events.begin_writing()
        # Lock first, because some may have been resent in the meantime.
        pks = list(events.lock_free().values_list("pk", flat=True))
        events.filter(pk__in=pks).only("pk").delete()
    return len(pks)
