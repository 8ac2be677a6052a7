from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from brevo_events.admin.charts import number
from brevo_events.admin.overview.delivery import delivery_charts
from brevo_events.admin.overview.failures import Failures
from brevo_events.admin.overview.log import log_rows
from brevo_events.admin.overview.names import name_rows
from brevo_events.admin.permissions import may_see_contacts
from brevo_events.admin.switch import Switch
from brevo_events.answers import meaning
from brevo_events.figures import WAITING_LIMIT, Requests, figures, newest_requests
from brevo_events.health import COUNT_LIMIT, state, summarise
from brevo_events.heartbeats import is_alive, processes
from brevo_events.interruptions import recent
from brevo_events.times import exactly, in_words, zone

TEMPLATE = "admin/brevo_events/outboxevent/overview.html"
DRAWN = 200  # holds and pauses, at most


class Overview:
    """The page next to the list that shows the state of delivery."""

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site
        self._switch = Switch(model_admin)
        self._failures = Failures(model_admin)

    def urls(self) -> list[URLPattern]:
        """Return the URLs of the page and of its buttons."""
        show = self._site.admin_view(require_safe(self.show))
        here = path("overview/", show, name="brevo_events_outboxevent_overview")
        return [here, *self._switch.urls(), *self._failures.urls()]

    def show(self, request: HttpRequest) -> HttpResponse:
        """Show the page: current state, counts and answers; charts and failures at most a few seconds old."""
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        summary, found = summarise(), figures()
        pulse, last_sent = summary.pulse, summary.last_sent_at
        waiting, requests = summary.pending + summary.sending, newest_requests()
        address = reverse("admin:brevo_events_outboxevent_changelist", current_app=self._site.name)
        interruptions = recent(DRAWN)
        request.current_app = self._site.name
        context = {
            **self._site.each_context(request),
            "title": _("Overview"),
            "opts": self._admin.opts,
            "state": state(pulse),
            "pulse": pulse,
            "oldest_due": in_words(pulse.oldest_due_seconds) if pulse.oldest_due_seconds else None,
            "can_pause": self._switch.is_allowed(request),
            "figures": found,
            "waiting": number(waiting),
            "last_sent": in_words((timezone.now() - last_sent).total_seconds()) if last_sent else None,
            "is_waiting_capped": waiting >= COUNT_LIMIT,
            "is_chart_capped": found.waiting >= WAITING_LIMIT,
            "requests": requests,
            "requests_since": exactly(requests.since) if requests.since else "",
            "charts": delivery_charts(found, interruptions, address),
            "zone": zone(),
            "codes": _codes(requests),
            "counted_requests": number(requests.count),
            "failures": self._failures.rows(found.failures),
            "can_resend": self._failures.may_resend(request),
            "names": name_rows(found.names, address),
            "names_since": exactly(found.names.since),
            "saved": number(found.names.saved),
            "shows_contact": may_see_contacts(request),
            "processes": [
                (process, is_alive(process), exactly(process.started_at), exactly(process.seen_at))
                for process in processes()
            ],
            "log": log_rows(interruptions),
        }
        return TemplateResponse(request, TEMPLATE, context)


def _codes(found: Requests) -> list[tuple[str, str, int]]:
    return [
        (str(code or error or _("no answer")), str(meaning(code, error or "other")), count)
        for code, error, count in found.codes
    ]
