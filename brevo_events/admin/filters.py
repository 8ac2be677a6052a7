from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from brevo_events.admin.charts import number
from brevo_events.choices import FINISHED, UNFINISHED, Status
from brevo_events.models import OutboxEvent

MAX_NAMES = 30
NAMED = 1000  # events, whose names are offered: a DISTINCT over all would read every row
NEWEST = 100_000  # events that a filter without an index looks through, as they lie side by side
NEWEST_OF_STATUS = 10_000  # the same of one status: they lie apart
STATUS = "status"  # the name of the parameter


class StatusFilter(admin.SimpleListFilter):
    """Offer the statuses."""

    title = _("status")
    parameter_name = STATUS

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
    """Look through the newest events only, of a status where one is chosen; what a search found is few."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        wanted = self.wanted(self.value() or "")
        if not wanted:
            return queryset
        is_search = bool(request.GET.get(SEARCH_VAR, "").strip("\0 \t\r\n"))
        newer, count = ({}, 0) if is_search else _newer(request.GET.get(STATUS))
        if newer:
            self.title = _("%(filter)s, of the newest %(count)s") % {"filter": self.title, "count": number(count)}
        return queryset.filter(**newer).filter(**wanted)

    def wanted(self, value: str) -> dict[str, Any]:
        """Return what a choice asks for, nothing where there is no such choice."""
        raise NotImplementedError


class NameFilter(_OfNewest):
    """Offer the names of the newest events, and the one that is asked for."""

    title = _("event")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = OutboxEvent.objects.order_by("-pk").values_list("name", flat=True)[:NAMED]
        names = sorted(set(newest))[:MAX_NAMES]
        if (asked := self.value()) and asked not in names:
            names.append(asked)
        return [(name, name) for name in names]

    def wanted(self, value: str) -> dict[str, Any]:
        # PostgreSQL refuses a NUL even where it only compares.
        name = value.replace("\0", "")
        return {"name": name} if name else {}


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

    def wanted(self, value: str) -> dict[str, Any]:
        if value == "none":
            return {"response_code": None}
        if value not in ("2", "3", "4", "5"):
            return {}
        return {"response_code__gte": int(value) * 100, "response_code__lt": int(value) * 100 + 100}


class EndedFilter(_OfNewest):
    """Offer spans of time up to now, in which an event was sent, has failed or was cancelled."""

    title = _("ended")
    parameter_name = "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("past 24 hours")), ("7", _("past 7 days")), ("30", _("past 30 days"))]

    def wanted(self, value: str) -> dict[str, Any]:
        return {"finished_at__gte": timezone.now() - timedelta(days=int(value))} if value in ("1", "7", "30") else {}


def _newer(status: str | None) -> tuple[dict[str, Any], int]:
    """Return what tells the newest events from those that no filter looks through, if there are so many; how many."""
    if status in UNFINISHED:
        return {}, 0
    if status in FINISHED:
        ended = OutboxEvent.objects.filter(status=status).order_by("-finished_at").values_list("finished_at", flat=True)
        oldest = ended[NEWEST_OF_STATUS:].first()
        return {"finished_at__gte": oldest} if oldest else {}, NEWEST_OF_STATUS
    newest = OutboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return {"pk__gt": newest - NEWEST} if newest > NEWEST else {}, NEWEST
