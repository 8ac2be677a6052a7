from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import InvalidPage, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from brevo_events.admin.matches import MOST, Found, Matches, Total
from brevo_events.admin.permissions import may_see_contacts
from brevo_events.admin.question import Question, question
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet


def matches_of(events: OutboxEventQuerySet, asked: Question, request: HttpRequest) -> Matches:
    """Return the events that match a question, among those that the user may see."""
    return Matches(events, asked, by_contact=may_see_contacts(request))


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that stops counting at 10,000, because counting a million rows takes seconds."""

    @cached_property
    def count(self) -> int:
        events: QuerySet[OutboxEvent] = self.object_list  # type: ignore[assignment]
        return min(events.order_by()[: MOST + 1].count(), MOST)


class EventList(ChangeList):
    """
    The events of one tab that match a question, a page at a time, with the totals of every tab.

    It filters, searches and counts by itself, because Django's own methods read
    the whole table.
    """

    root_queryset: OutboxEventQuerySet
    asked: Question
    found: Found
    totals: dict[str, Total]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.title = _("Select an event") if self.is_popup else _("Brevo events")

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[OutboxEvent]:
        self.asked = question(self.params, self.query.strip())
        self._matches = matches_of(self.root_queryset, self.asked, request)
        self.found = self._matches.found(self.asked.status)
        self.filter_specs, self.has_filters, self.has_active_filters = [], False, False
        return self.found.in_order()

    def get_results(self, request: HttpRequest) -> None:
        self.totals = self._matches.totals()
        self.total = self.totals[self.asked.status]
        self.result_count = self.full_result_count = self.total.count
        self.paginator = Paginator(range(self.total.count), self.list_per_page)
        try:
            places = self.paginator.page(self.page_num).object_list
        except InvalidPage as error:
            raise IncorrectLookupParameters from error
        self.result_list = self._events_at(places)
        self.multi_page, self.can_show_all = self.result_count > self.list_per_page, False
        self.is_capped = self.total.count == MOST and self.total.is_more
        self.show_admin_actions = bool(self.result_list)

    def _events_at(self, places: Any) -> list[OutboxEvent]:
        """Return the events at these positions: first their keys, which an index has, then their rows."""
        pks = list(self.queryset.values_list("pk", flat=True)[places.start : places.stop])
        # The bodies may be large, and aren't shown.
        rows = self.root_queryset.defer("body").in_bulk(pks)
        return [rows[pk] for pk in pks if pk in rows]
