"""The data stored about a person: export and erase."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models, transaction
from django.db.models import Case, F, Prefetch, Value, When

from brevo_events import states
from brevo_events.choices import UNFINISHED, Reason
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet, in_batches

BATCH = 500  # events in one transaction


def export(email: str, visible: OutboxEventQuerySet | None = None) -> Iterator[dict[str, Any]]:
    """
    Yield everything the outbox stores about one contact, oldest first: each event's columns, body and attempts.

    With ``visible``, only those of its events.
    """
    events = (OutboxEvent.objects.all() if visible is None else visible).of_contact(email).order_by("pk")
    attempts = SendAttempt.objects.order_by("pk")
    for event in events.prefetch_related(Prefetch("send_attempts", attempts)).iterator(chunk_size=BATCH):
        tried = [_columns(attempt) for attempt in event.send_attempts.all()]
        yield {**_columns(event), "body": json.loads(event.body), "send_attempts": tried}


def erase(email: str, pks: Iterable[int] | None = None) -> Iterator[int]:
    """
    Erase what the outbox and its attempts store about one contact; yield the number of events after each transaction.

    With ``pks``, only those of the contact's events. Pending events are
    cancelled, and if one is being sent, its answer isn't recorded. Event names,
    codes and times are kept for the statistics.
    """
    events = OutboxEvent.objects.of_contact(email)
    for batch in _all_of(events) if pks is None else _those_of(events, pks):
        _erase(batch)
        yield len(batch)


def _all_of(events: OutboxEventQuerySet) -> Iterator[list[int]]:
    # Erased events no longer belong to the contact, but events captured in the meantime do.
    while batch := list(events.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield batch


def _those_of(events: OutboxEventQuerySet, pks: Iterable[int]) -> Iterator[list[int]]:
    for batch in in_batches(sorted(pks)):
        yield list(events.filter(pk__in=batch).values_list("pk", flat=True))
    # Erased events don't name their contact any more, so no worker can find what waits behind them.
    with transaction.atomic(using=events.db):
        events.begin_writing()
        parked = events.filter(parked=True)
        parked.filter(pk__in=parked.lock_by_key(parked.values_list("pk", flat=True))).update(**states.released())


def _erase(pks: list[int]) -> None:
    events = OutboxEvent.objects.all()
    with transaction.atomic(using=events.db):
        # First, because it locks all of them: no resend may come before the pending ones are read.
        events.filter(pk__in=pks).update(
            email="",
            contact="",
            object_id=None,
            reference=None,
            body="{}",
            source="",
            coalesce_key=None,
            idempotency_key=None,
            **states.NO_FAILURE,
        )
        events.with_status(UNFINISHED, pks).update(**states.cancelled(Reason.ERASED))
        # The error in an answer is Brevo's text; the error for a missing answer is one of our words.
        error = Case(When(response_code=None, then=F("error")), default=Value(""))
        SendAttempt.objects.filter(event__in=pks).update(answer="", error=error)


def _columns(row: models.Model) -> dict[str, Any]:
    return {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
