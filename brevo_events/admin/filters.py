from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import FINISHED, UNFINISHED, Status
from brevo_events.models import OutboxEvent

MAX_NAMES = 30
NAMED = 1000  # events, whose names are offered: a DISTINCT over all would read every row
NEWEST = 100_000  # events that a filter without an index looks through


class StatusFilter(admin.SimpleListFilter):
    """Offer the statuses."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        if (status := self.value()) not in Status.values:
            return queryset
        if status in UNFINISHED:
            # By the index of what is due: else their newest might be looked for through the whole table.
            waiting = OutboxEvent.objects.due_sometime().filter(status=status)
            return queryset.filter(pk__in=waiting.values("pk"))
        return queryset.filter(status=status)


class _OfNewest(admin.SimpleListFilter):
    """Look through the newest 100,000 events only, where no search has found few by an index already."""

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        newest = OutboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        self._after = 0 if request.GET.get(SEARCH_VAR, "").strip("\0 \t\r\n") else max(newest - NEWEST, 0)
        if self._after:
            self.title = _("%s, of the newest 100,000") % self.title

    def _newest(self, events: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        return events.filter(pk__gt=self._after) if self._after else events


class NameFilter(_OfNewest):
    """Offer the names of the newest events."""

    title = _("event")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = OutboxEvent.objects.order_by("-pk").values_list("name", flat=True)[:NAMED]
        return [(name, name) for name in sorted(set(newest))[:MAX_NAMES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        # PostgreSQL refuses a NUL even where it only compares.
        name = (self.value() or "").replace("\0", "")
        return self._newest(queryset).filter(name=name) if name else queryset


class ResponseCodeFilter(_OfNewest):
    """Offer the classes of answers."""

    title = _("response code")
    parameter_name = "response"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("2", _("2xx: taken")),
            ("3", _("3xx: redirected")),
            ("4", _("4xx: refused")),
            ("5", _("5xx: Brevo's fault")),
            ("none", _("no answer yet")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        value = self.value()
        if value == "none":
            return self._newest(queryset).filter(response_code=None)
        if value in ("2", "3", "4", "5"):
            codes = {"response_code__gte": int(value) * 100, "response_code__lt": int(value) * 100 + 100}
            return self._newest(queryset).filter(**codes)
        return queryset


class EndedFilter(admin.SimpleListFilter):
    """Offer spans of time up to now, in which an event was sent, has failed or was cancelled."""

    title = _("ended")
    parameter_name = "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("past 24 hours")), ("7", _("past 7 days")), ("30", _("past 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        if self.value() not in ("1", "7", "30"):
            return queryset
        since = timezone.now() - timedelta(days=int(self.value() or 0))
        # The statuses are named so that the index of status and end serves.
        return queryset.filter(status__in=FINISHED, finished_at__gte=since)
