"""The events related to an event: the one that replaced it, the one it waits for, and its contact's others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet, Subquery

from brevo_events.choices import Reason, Status
from brevo_events.clock import UtcNow
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet

MAX_NEWER = 200  # events of an object that are searched for the one that replaced another
MAX_COUNTED = 1000  # events of a contact
MAX_OTHERS = 10
AT_CAPTURE = timedelta(seconds=1)  # an event that replaces others does so right after its own INSERT


@dataclass(frozen=True, slots=True)
class Related:
    """
    A contact's other events.

    ``count`` includes the event itself, and so does ``of_object``, the number
    of events with the same object. ``others`` are the nearest in time, oldest
    first; those with the same object take precedence.
    """

    count: int = 0
    of_object: int = 0
    is_capped: bool = False
    others: tuple[OutboxEvent, ...] = ()


def successor_of(event: OutboxEvent, events: OutboxEventQuerySet) -> OutboxEvent | None:
    """Return the event that replaced a superseded one, or None if that is no longer known."""
    if event.reason != Reason.SUPERSEDED or event.is_erased or not event.is_finished:
        return None
    newer = events.filter(contact=event.contact, object_id=event.object_id, pk__gt=event.pk)
    return successor_among(event, newer.defer("body").order_by("pk")[:MAX_NEWER])


def successor_among(event: OutboxEvent, newer: Iterable[OutboxEvent]) -> OutboxEvent | None:
    """Return which of the newer events of the same contact and object, given in order, replaced an event."""
    if event.finished_at is None:
        return None
    end = event.finished_at
    known = [other for other in newer if other.created_at <= end + AT_CAPTURE]
    # The capture of an order ends its cart's pending reports.
    at_capture = [other for other in known if other.name != event.name and end - other.created_at < AT_CAPTURE]
    # A cart's newest report is sent in place of older ones, perhaps through a chain of replacements.
    heirs = [other for other in known if event.coalesce_key and other.coalesce_key == event.coalesce_key]
    sent = [other for other in heirs if other.reason != Reason.SUPERSEDED]
    return next(iter([*at_capture, *sent, *reversed(known)]), None)


def ahead_of(event: OutboxEvent, events: OutboxEventQuerySet) -> OutboxEvent | None:
    """Return the event of the same contact that a pending one waits for, or None if it is next."""
    if event.status != Status.PENDING:
        return None
    line = events.filter(contact=event.contact, available_at__lte=UtcNow()).exclude(pk=event.pk).order_by("pk")
    # One query per status, because the index then gives the first at once.
    first = line.filter(status=Status.PENDING, pk__lt=event.pk)
    in_flight = line.filter(status=Status.SENDING)
    heads: Any = [Subquery(each.values("pk")[:1]) for each in (in_flight, first)]
    ahead = OutboxEvent.objects.filter(pk__in=heads).defer("body").order_by("pk")
    return ahead.first()


def related_to(event: OutboxEvent, events: OutboxEventQuerySet) -> Related:
    """Return how many events the contact has, and the nearest ones."""
    if event.is_erased:
        return Related()
    of_contact = events.filter(contact=event.contact)
    found = _keys(of_contact.order_by())
    if is_capped := len(found) > MAX_COUNTED:
        found = _keys(of_contact.filter(object_id=event.object_id).order_by("-pk"))
    nearest = sorted(found, key=lambda row: (row[1] != event.object_id, abs(row[0] - event.pk)))
    chosen = [pk for pk, _object in nearest if pk != event.pk][:MAX_OTHERS]
    others = OutboxEvent.objects.filter(pk__in=chosen) if chosen else ()
    of_object = sum(object_id == event.object_id for _pk, object_id in found)
    in_order = sorted(others, key=lambda other: (other.object_id != event.object_id, other.pk))
    return Related(MAX_COUNTED if is_capped else len(found), of_object, is_capped, tuple(in_order))


def _keys(events: QuerySet[OutboxEvent]) -> list[tuple[int, str | None]]:
    return list(events.values_list("pk", "object_id")[: MAX_COUNTED + 1])
