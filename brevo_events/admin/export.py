from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_POST

from brevo_events.admin import log
from brevo_events.admin.changelist import matches_of
from brevo_events.admin.event.answer import state_word
from brevo_events.admin.permissions import contact_of, may_export, may_see_contacts, object_of
from brevo_events.admin.question import question
from brevo_events.admin.rows import answer_of, last_attempts
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet, in_batches

MOST = 10_000  # events
COLUMNS = ("id", "event", "status", "reason", "contact", "object", "code", "answer", "attempts", "captured", "finished")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # characters that make a spreadsheet calculate
BOM = "\ufeff"  # by which spreadsheets recognise UTF-8


class Export:
    """
    The events shown in the list, as a CSV file.

    A POST request, because it leaves an entry in the admin's log. Addresses are
    masked as in the list.
    """

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        """Return the URL of the file."""
        view = self._admin.admin_site.admin_view(require_POST(self.view))
        return [path("export/", view, name="brevo_events_outboxevent_export")]

    def view(self, request: HttpRequest) -> HttpResponseBase:
        """Return the file, at most 10,000 events in the order of the list."""
        if not (self._admin.has_view_permission(request) and may_export(request)):
            raise PermissionDenied
        events: OutboxEventQuerySet = self._admin.get_queryset(request)  # type: ignore[assignment]
        asked = question(request.GET, request.GET.get(SEARCH_VAR, "").replace("\0", "").strip())
        found = matches_of(events, asked, request).found(asked.status)
        pks = list(found.in_order().values_list("pk", flat=True)[:MOST])
        log.write_once(request.user, log.EXPORTED, pks)
        lines = _lines(events, pks, shows_contact=may_see_contacts(request))
        file = f"brevo-events-{timezone.localdate():%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{file}"'}
        # Under ASGI, Django would collect it as well, with a warning.
        if hasattr(request, "scope"):
            return HttpResponse("".join(lines), content_type="text/csv; charset=utf-8", headers=headers)
        return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def safe(value: object) -> str:
    """Return a cell that no spreadsheet interprets as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(events: OutboxEventQuerySet, pks: list[int], *, shows_contact: bool) -> Iterator[str]:
    yield BOM + _line(COLUMNS)
    for batch in in_batches(pks):
        found = events.defer("body").in_bulk(batch)
        attempts = last_attempts(list(found.values()))
        for event in (found[pk] for pk in batch if pk in found):
            answer = answer_of(event, attempts.get(event.pk), shows_contact=shows_contact)
            yield _line(_cells(event, answer, shows_contact=shows_contact))


def _cells(event: OutboxEvent, answer: str, *, shows_contact: bool) -> Sequence[object]:
    return (
        event.pk,
        event.name,
        state_word(event),
        event.get_reason_display(),
        contact_of(event, shows_contact=shows_contact),
        object_of(event, shows_contact=shows_contact),
        event.response_code,
        answer,
        event.attempts,
        _time(event.created_at),
        _time(event.finished_at),
    )


def _time(moment: datetime | None) -> str:
    return timezone.localtime(moment).isoformat(timespec="seconds") if moment else ""


def _line(cells: Sequence[object]) -> str:
    line = StringIO()
    csv.writer(line).writerow([safe(cell) for cell in cells])
    return line.getvalue()
