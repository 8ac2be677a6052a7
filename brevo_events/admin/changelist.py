from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from brevo_events.admin.filters import STATUS
from brevo_events.choices import FINISHED
from brevo_events.models import OutboxEvent

MOST = 10_000  # events that are counted and paged through


def is_of_finished(request: HttpRequest) -> bool:
    """Return whether the list is asked for events of one status in which they have ended."""
    return request.GET.get(STATUS) in FINISHED


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Count no further than 10,000: to count a million rows takes seconds, and tells nobody more."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST)

    @property
    def is_capped(self) -> bool:
        """Return whether there are more than are counted."""
        return self._counted > MOST

    @cached_property
    def _counted(self) -> int:
        events: QuerySet[OutboxEvent] = self.object_list  # type: ignore[assignment]
        return events.order_by()[: MOST + 1].count()


class NewestFirst(ChangeList):
    """List events in an order that an index has: any other would sort the whole table."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[OutboxEvent]:
        # The bodies may be large, and are not shown.
        return super().get_queryset(request, *args, **kwargs).defer("body")

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> Any:
        return ["-finished_at", "-pk"] if is_of_finished(request) else ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # The number stands below the list; beside the search it would look exact.
        self.full_result_count = self.result_count
