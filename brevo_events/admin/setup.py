from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from brevo_events import doctor
from brevo_events.admin.permissions import may_pause
from brevo_events.doctor import Finding
from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent
from brevo_events.models import Gate

TEMPLATE = "admin/brevo_events/outboxevent/setup.html"
View = Callable[..., HttpResponse]


class Setup:
    """The page with the doctor's findings; Brevo is called only when a button is pressed."""

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site

    def urls(self) -> list[URLPattern]:
        """Return the URLs of the page and of its button."""
        check = _outside_transactions(require_POST(self.check))
        return [
            path("setup/", self._site.admin_view(require_safe(self.show)), name="brevo_events_outboxevent_setup"),
            path("setup/check/", self._site.admin_view(check), name="brevo_events_outboxevent_check"),
        ]

    def show(self, request: HttpRequest) -> HttpResponse:
        """Show the findings that need no calls."""
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return self._page(request, list(doctor.examine(calls=False)))

    def check(self, request: HttpRequest) -> HttpResponse:
        """Call Brevo, with an address also about that contact, and show all findings."""
        if not self._may_call(request):
            raise PermissionDenied
        email = request.POST.get("email", "").strip()
        try:
            email = email and Event(doctor.EVENT, email).email
        except InvalidEvent:
            text = _("This is not an e-mail address like ada@example.com.")
            self._admin.message_user(request, text, messages.ERROR)
            return self._page(request, list(doctor.examine(calls=False)), email)
        entry = _("Checked the setup with a test event.") if email else _("Checked the setup.")
        LogEntry.objects.log_actions(request.user.pk, [Gate.load()], CHANGE, entry)  # type: ignore[arg-type]
        return self._page(request, list(doctor.examine(email or None)), email)

    def _page(self, request: HttpRequest, findings: list[Finding], email: str = "") -> HttpResponse:
        request.current_app = self._site.name
        context = {
            **self._site.each_context(request),
            "title": _("Setup"),
            "opts": self._admin.opts,
            "findings": findings,
            "wrong": sum(finding.is_wrong for finding in findings),
            "may_call": self._may_call(request),
            "email": email,
            "event": doctor.EVENT,
        }
        return TemplateResponse(request, TEMPLATE, context)

    def _may_call(self, request: HttpRequest) -> bool:
        return self._admin.has_view_permission(request) and may_pause(request)


def _outside_transactions(view: View) -> View:
    """Return the view without ``ATOMIC_REQUESTS``: no transaction may be open while Brevo is called."""
    return reduce(lambda inner, alias: transaction.non_atomic_requests(using=alias)(inner), connections, view)
