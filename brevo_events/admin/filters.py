from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from brevo_events.models import OutboxEvent

MAX_NAMES = 30
NEWEST = 1000  # events, whose names are offered: a DISTINCT over all would read every row


class NameFilter(admin.SimpleListFilter):
    """Offer the names of the newest events."""

    title = _("event")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = OutboxEvent.objects.order_by("-pk").values_list("name", flat=True)[:NEWEST]
        return [(name, name) for name in sorted(set(newest))[:MAX_NAMES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        # PostgreSQL refuses a NUL even where it only compares.
        name = (self.value() or "").replace("\0", "")
        return queryset.filter(name=name) if name else queryset


class ResponseCodeFilter(admin.SimpleListFilter):
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
            return queryset.filter(response_code=None)
        if value in ("2", "3", "4", "5"):
            return queryset.filter(response_code__gte=int(value) * 100, response_code__lt=int(value) * 100 + 100)
        return queryset
