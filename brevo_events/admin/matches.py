"""The events that match the list's question, by tab: every query reads a bounded number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import Lower

from brevo_events.admin import log
from brevo_events.admin.question import ALL, REASONS, STATUSES, TABS, WAITING, Question
from brevo_events.admin.spans import Span
from brevo_events.choices import FINISHED, UNFINISHED
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.search import search

MOST = 10_000  # events that are counted and paged through
NEWEST = 50_000  # events that are read to find some of them; they are stored next to each other
NEWEST_OF_STATUS = 10_000  # the same for one status, with its index
NEWEST_FIRST, LAST_ENDED_FIRST, DUE_FIRST = ("-pk",), ("-finished_at", "-pk"), ("due_at", "pk")
LAST_FAILED_FIRST, LAST_CAPTURED_FIRST = ("-failed_at", "-pk"), ("-created_at", "-pk")


@dataclass(frozen=True, slots=True)
class Found:
    """The events of a tab in order; ``searched`` is how many were searched, if not all were."""

    events: OutboxEventQuerySet
    order: tuple[str, ...] = NEWEST_FIRST
    searched: int | None = None

    def in_order(self) -> OutboxEventQuerySet:
        """Return the events in their order."""
        return self.events.order_by(*self.order)


@dataclass(frozen=True, slots=True)
class Total:
    """A number of events, up to 10,000; ``is_more`` says that there may be more."""

    count: int
    is_more: bool = False

    @classmethod
    def of(cls, counted: int, *, is_part: bool = False) -> Total:
        """Return the total for a count, perhaps of only a part of the events."""
        return cls(min(counted, MOST), is_part or counted > MOST)


class Matches:
    """The events that match a question, among those that a user may see."""

    def __init__(self, events: OutboxEventQuerySet, question: Question, *, by_contact: bool = True) -> None:
        self._events = events.order_by()
        self._question = question
        self._by_contact = by_contact

    def found(self, tab: str) -> Found:
        """Return the events of a tab."""
        if self._question.term:
            return Found(_read_one_by_one(self._searched, tab))
        if self._question.batch:
            return Found(_read_one_by_one(self._of_batch, tab))
        if self._question.failure:
            cut = MOST if self._last_of_group else None
            return Found(_read_one_by_one(self._alike, tab), LAST_FAILED_FIRST, cut)
        if self._question.captured:
            cut = NEWEST if self._first_captured else None
            return Found(_read_one_by_one(self._captured, tab), LAST_CAPTURED_FIRST, cut)
        if tab == ALL:
            return self._newest()
        return self._waiting() if tab == WAITING else self._ended(tab)

    def totals(self) -> dict[str, Total]:
        """Return how many events each tab has."""
        if self._question.term:
            return self._counted_together(self._searched[: MOST + 1])
        if self._question.batch:
            return self._counted_together(self._of_batch)
        if self._question.failure:
            return self._counted_together(self._alike, is_part=self._last_of_group is not None)
        if self._question.captured:
            return self._counted_together(self._captured, is_part=self._first_captured is not None)
        totals = {tab: self._counted(tab) for tab in TABS if tab != ALL}
        is_sum = self._question.status != ALL and (self._question.conditions or self._question.finished)
        return {ALL: _sum(totals.values()) if is_sum else self._counted(ALL), **totals}

    @cached_property
    def _searched(self) -> OutboxEventQuerySet:
        asked = self._question
        events = self._events.filter(pk__in=log.events_of(asked.batch)) if asked.batch else self._events
        found = search(events, asked.term, by_contact=self._by_contact).filter(asked.conditions, **asked.spans)
        return found.of_failure(asked.failure) if asked.failure else found

    @cached_property
    def _of_batch(self) -> OutboxEventQuerySet:
        asked = self._question
        found = self._events.filter(asked.conditions, pk__in=log.events_of(asked.batch), **asked.spans)
        return found.of_failure(asked.failure) if asked.failure else found

    @cached_property
    def _last_of_group(self) -> datetime | None:
        """The time of the last failure in a group that is read, None if all are."""
        last: datetime | None = _at(OutboxEvent.objects.of_failure(self._question.failure), "-failed_at", MOST)
        return last

    @property
    def _alike(self) -> OutboxEventQuerySet:
        asked = self._question
        within = {"failed_at__gte": self._last_of_group} if self._last_of_group else {}
        return self._events.of_failure(asked.failure).filter(asked.conditions, **asked.spans, **within)

    @cached_property
    def _first_captured(self) -> datetime | None:
        """The capture time of the first event in a span that is read, None if all are."""
        in_span = OutboxEvent.objects.filter(**self._question.captured.on("created_at"))
        first: datetime | None = _at(in_span, "-created_at", NEWEST)
        return first

    @property
    def _captured(self) -> OutboxEventQuerySet:
        span = self._question.captured
        # One bound per side: SQLite seeks to the first one given, and reads on until the other.
        within = Span(self._first_captured or span.start, span.end).on("created_at")
        return self._events.filter(self._question.conditions, **within)

    def _newest(self) -> Found:
        asked = self._question
        if asked.finished:
            return self._ended(ALL)
        if not asked.conditions:
            return Found(self._events)
        last = OutboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        newest = self._events.filter(asked.conditions, pk__gt=last - NEWEST)
        return Found(newest, searched=NEWEST if last > NEWEST else None)

    def _waiting(self) -> Found:
        asked = self._question
        if asked.finished:
            return Found(self._events.none())
        # With the index of due times: otherwise the whole table might be searched.
        waiting = self._events.due_sometime().filter(status__in=UNFINISHED)
        if not asked.conditions:
            return Found(waiting, DUE_FIRST)
        cut = _at(OutboxEvent.objects.due_sometime(), "due_at", NEWEST_OF_STATUS)
        within = {"due_at__lt": cut} if cut else {}
        return Found(waiting.filter(asked.conditions, **within), DUE_FIRST, NEWEST_OF_STATUS if cut else None)

    def _ended(self, tab: str) -> Found:
        asked = self._question
        statuses = [status for status in STATUSES[tab] if status in FINISHED]
        ended = self._events.filter(status__in=statuses)
        if not asked.conditions and tab not in (ALL, *REASONS):
            return Found(ended.filter(**_finished_in(asked.finished)), LAST_ENDED_FIRST)
        cuts = [_at(self._of_status(status), "-finished_at", NEWEST_OF_STATUS) for status in statuses]
        cut = max((one for one in cuts if one), default=None)
        # One bound per side: SQLite seeks to the first one given, and reads on until the other.
        within = _finished_in(Span(cut or asked.finished.start, asked.finished.end))
        reason = (REASONS[tab],) if tab in REASONS else ()
        found = ended.filter(asked.conditions, *reason, **within)
        return Found(found, LAST_ENDED_FIRST, NEWEST_OF_STATUS if cut else None)

    def _of_status(self, status: str) -> OutboxEventQuerySet:
        return OutboxEvent.objects.filter(status=status, **_finished_in(self._question.finished))

    def _counted(self, tab: str) -> Total:
        found = self.found(tab)
        return Total.of(found.events[: MOST + 1].count(), is_part=found.searched is not None)

    def _counted_together(self, events: OutboxEventQuerySet, *, is_part: bool = False) -> dict[str, Total]:
        numbers = {tab or "every": Count("pk", filter=Q(*_of_tab(tab))) for tab in TABS}
        counts = events.aggregate(**numbers)
        is_part = is_part or counts["every"] > MOST
        return {tab: Total.of(counts[tab or "every"], is_part=is_part) for tab in TABS}


def _finished_in(span: Span) -> dict[str, Any]:
    """Return the lookups for events that ended in a span; with none, PostgreSQL would not use the index."""
    return span.on("finished_at") or {"finished_at__isnull": False}


def _of_tab(tab: str) -> list[Q]:
    if tab == ALL:
        return []
    return [Q(status__in=STATUSES[tab]), *([REASONS[tab]] if tab in REASONS else [])]


def _read_one_by_one(events: OutboxEventQuerySet, tab: str) -> OutboxEventQuerySet:
    """Return those of a tab without the index of the status, which would read and sort all that have it."""
    if tab == ALL:
        return events
    of_tab = events.alias(state=Lower("status")).filter(state__in=STATUSES[tab])
    return of_tab.filter(REASONS[tab]) if tab in REASONS else of_tab


def _at(events: OutboxEventQuerySet, order: str, place: int) -> Any:
    """Return the time of the event at a position, None if there are fewer events."""
    return events.order_by(order).values_list(order.lstrip("-"), flat=True)[place : place + 1].first()


def _sum(totals: Any) -> Total:
    every = list(totals)
    return Total.of(sum(one.count for one in every), is_part=any(one.is_more for one in every))
