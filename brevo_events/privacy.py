"""What is kept of a person, and for how long: export, erase, prune."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

from django.db import connections, models, transaction
from django.db.models import Case, F, OuterRef, Prefetch, Q, Value, When

from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.columns import in_seconds
from brevo_events.conf import settings
from brevo_events.models import SendAttempt, outbox
from brevo_events.querysets import OutboxEventQuerySet, cancelled, has_like

BATCH = 500  # events in one transaction
ONE_WRITER_BATCH = 100  # events, on a database that lets one writer in at a time: it holds up all others
SUPERSEDED_DAYS = 1.0
DAY = 24 * 3600  # seconds


def export(email: str) -> Iterator[dict[str, Any]]:
    """Yield all that the outbox holds of one contact, oldest first: each event's columns, its body and its attempts."""
    events = outbox().of_contact(email).order_by("pk")
    attempts = SendAttempt._default_manager.using(events.db).order_by("pk")
    for event in events.prefetch_related(Prefetch("send_attempts", attempts)).iterator(chunk_size=BATCH):
        tried = [_columns(attempt) for attempt in event.send_attempts.all()]
        yield {**_columns(event), "body": json.loads(event.body), "send_attempts": tried}


def erase(email: str) -> Iterator[int]:
    """
    Erase all that the outbox and its attempts hold of one contact; yield how many events after each transaction.

    What waits is cancelled, and what is being sent writes nothing back. Names
    of events, codes and times stay, for the statistics.
    """
    events = outbox()
    while pks := list(events.of_contact(email).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic(using=events.db):
            # First, since it holds all of them: no resend may come between it and the look at what waits.
            events.filter(pk__in=pks).update(
                email="",
                contact="",
                object_id=None,
                body="{}",
                source="",
                coalesce_key=None,
                idempotency_key=None,
            )
            events.with_status(UNFINISHED, pks).update(**cancelled(Reason.ERASED))
            # The error of an answer is Brevo's text, that of a missing one is a word of ours.
            error = Case(When(response_code=None, then=F("error")), default=Value(""))
            SendAttempt._default_manager.using(events.db).filter(event__in=pks).update(answer="", error=error)
        yield len(pks)


def prune(*, days: float | None = None, failed_days: float | None = None) -> Iterator[int]:
    """
    Delete what ended long ago, with its attempts; yield how many events after each transaction.

    ``days`` is RETENTION_DAYS and ``failed_days`` FAILED_RETENTION_DAYS where
    they are not given; superseded events go after a day. Between two
    transactions it rests, so that others have their turn on a database with
    one writer.
    """
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


def prunable(*, days: float | None = None, failed_days: float | None = None) -> list[OutboxEventQuerySet]:
    """
    Return what prune() deletes, in groups that have nothing in common.

    What is newer than an unsent event of its contact and object stays as long as
    that one: without it, a resend would take a stale cart for the newest.
    """
    days = settings.RETENTION_DAYS if days is None else days
    failed_days = settings.FAILED_RETENTION_DAYS if failed_days is None else failed_days
    cancelled_, superseded = Q(status=Status.CANCELLED), Q(reason=Reason.SUPERSEDED)
    unsent = [
        (Q(status=Status.FAILED), failed_days),
        (cancelled_ & superseded, min(days, SUPERSEDED_DAYS)),
        (cancelled_ & ~superseded, days),
    ]
    stays = reduce(or_, (of_kind & ~_is_older_than(kept) for of_kind, kept in unsent))
    # What a user has cancelled is due until a worker has freed the events behind it.
    free = outbox().filter(due_at=None).exclude(has_like(outbox().filter(stays), pk__lt=OuterRef("pk")))
    return [free.filter(of_kind & _is_older_than(kept)) for of_kind, kept in [*unsent, (Q(status=Status.SENT), days)]]


def _is_older_than(days: float) -> Q:
    return Q(finished_at__lt=in_seconds(-days * DAY))


def _delete(events: OutboxEventQuerySet) -> int:
    with transaction.atomic(using=events.db):
        events.begin_writing()
        # Locked first, since a resend may have revived some meanwhile.
        pks = list(events.lock_free().values_list("pk", flat=True))
        events.filter(pk__in=pks).only("pk").delete()
    return len(pks)


def _columns(row: models.Model) -> dict[str, Any]:
    return {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
