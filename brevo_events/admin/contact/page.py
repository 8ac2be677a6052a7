"""A contact's page: all of a person's events, by object, with what Brevo knows about each cart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from brevo_events import consent, privacy
from brevo_events.actions import ACTIONS
from brevo_events.admin import log
from brevo_events.admin.contact.groups import groups_of
from brevo_events.admin.event.page import count_of
from brevo_events.admin.event.relations import MAX_COUNTED
from brevo_events.admin.permissions import contact_of, may_act, may_see_contacts
from brevo_events.conf import settings
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.health import state, take_pulse
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.times import zone

TEMPLATE = "admin/brevo_events/outboxevent/contact.html"
ON_PAGE = 50  # events


class ContactPage:
    """
    The page of an event's contact, and the export of everything stored about them.

    Its URL contains the ID of one of the contact's events, because an address,
    or its hash, which anyone can compute, would stay in logs and browser
    histories.
    """

    def __init__(self, model_admin: ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site

    def urls(self) -> list[URLPattern]:
        """Return the URLs of the page and of its button."""
        show, export = self._site.admin_view(require_safe(self.show)), self._site.admin_view(require_POST(self.export))
        return [
            path("contact/<int:pk>/", show, name="brevo_events_outboxevent_contact"),
            path("contact/<int:pk>/export/", export, name="brevo_events_outboxevent_contact_export"),
        ]

    def show(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the newest events, or those before one; masked for users who may not see contacts."""
        event = self._event(request, pk)
        if event.is_erased:
            return HttpResponseRedirect(self._address("change", pk))
        shows_contact, now = may_see_contacts(request), state(take_pulse())
        of_contact = self._events(request).filter(contact=event.contact)
        rows, has_older = self._newest(of_contact, event.contact, request.GET.get("before", ""))
        erase = ACTIONS["erase"]
        request.current_app = self._site.name
        name = contact_of(event, shows_contact=shows_contact)
        counted = of_contact.order_by()[: MAX_COUNTED + 1].count()
        context = {
            **self._site.each_context(request),
            "title": name,
            "opts": self._admin.opts,
            "state": now,
            "event": event,
            "count": count_of(min(counted, MAX_COUNTED), is_capped=counted > MAX_COUNTED),
            "consent": _consent_to(event) if shows_contact else "",
            "zone": zone(),
            "groups": groups_of(rows, of_contact, self._address("changelist"), shows_contact=shows_contact),
            "newest_url": self._address("contact", pk) if "before" in request.GET else "",
            "older_url": f"{self._address('contact', pk)}?{urlencode({'before': rows[-1].pk})}" if has_older else "",
            "may_export": shows_contact,
            "erase": erase if may_act(request, erase) else None,
            "shows_contact": shows_contact,
        }
        return TemplateResponse(request, TEMPLATE, context)

    def export(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Return everything stored about the contact as a JSON file, and leave an entry in the admin's log."""
        event = self._event(request, pk)
        if not may_see_contacts(request):
            raise PermissionDenied
        if event.is_erased:
            return HttpResponseRedirect(self._address("change", pk))
        log.write(request.user, log.EXPORTED, [pk])
        rows = privacy.export(event.email, self._events(request))
        headers = {"Content-Disposition": f'attachment; filename="contact-{pk}.json"'}
        return StreamingHttpResponse(_as_json(rows), content_type="application/json", headers=headers)

    def _event(self, request: HttpRequest, pk: int) -> OutboxEvent:
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        if (event := self._events(request).filter(pk=pk).first()) is None:
            raise Http404
        return event

    def _events(self, request: HttpRequest) -> OutboxEventQuerySet:
        events: OutboxEventQuerySet = self._admin.get_queryset(request)  # type: ignore[assignment]
        return events

    def _newest(self, of_contact: OutboxEventQuerySet, contact: str, before: str) -> tuple[list[OutboxEvent], bool]:
        """Return the events of a page, newest first, and whether there are older ones."""
        number = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
        found = of_contact.newest_of_contact(contact, ON_PAGE + 1, before=number)
        return found[:ON_PAGE], len(found) > ON_PAGE

    def _address(self, where: str, *arguments: Any) -> str:
        return reverse(f"admin:brevo_events_outboxevent_{where}", args=arguments, current_app=self._site.name)


def _consent_to(event: OutboxEvent) -> str:
    """Return what the project's ``CONSENT`` says about an event today; empty without one."""
    try:
        if settings.consent() is None:
            return ""
        return _("yes") if consent.is_given(event.as_event()) else _("no")
    except (InvalidSetting, InvalidEvent) as error:
        return _("could not be asked: %s") % error


def _as_json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    comma = ""
    yield "["
    for row in rows:
        yield f"{comma}\n{json.dumps(row, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)}"
        comma = ","
    yield "\n]\n"
