from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from brevo_events.actions import ACTIONS
from brevo_events.admin import listing
from brevo_events.admin.changelist import CappedPaginator, EventList
from brevo_events.admin.confirmation import Confirmation
from brevo_events.admin.contact.page import ContactPage
from brevo_events.admin.event.page import EventPage
from brevo_events.admin.export import Export
from brevo_events.admin.overview.page import Overview
from brevo_events.admin.permissions import may_act, may_see_contacts
from brevo_events.admin.setup import Setup
from brevo_events.health import state, take_pulse
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.search import search


class _ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(OutboxEvent)
class OutboxEventAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Every captured event and Brevo's answers: for viewing and acting on, never for editing."""

    list_per_page = 50
    paginator = CappedPaginator
    sortable_by = ()
    search_fields = ("pk",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    actions = ("resend", "cancel", "erase")
    fields = ()  # the event's page shows them itself
    change_form_template = "admin/brevo_events/outboxevent/change_form.html"

    class Media:
        css = {"all": ["brevo_events/admin.css", "brevo_events/overview.css"]}
        js = [Script("brevo_events/copy.js", defer=True)]

    def get_urls(self) -> list[URLPattern]:
        action = self.admin_site.admin_view(Confirmation(self).view)
        return [
            *Overview(self).urls(),
            *Setup(self).urls(),
            *ContactPage(self).urls(),
            *Export(self).urls(),
            path("actions/<slug:name>/", action, name="brevo_events_outboxevent_action"),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventList]:
        return EventList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        # An action returns a page of its own.
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            context: dict[str, Any] = response.context_data  # type: ignore[assignment]
            context |= {"state": state(take_pulse()), **listing.page(context["cl"], request)}
        return response

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        """Search for autocompletion in the same way as the list."""
        return search(queryset, search_term, by_contact=may_see_contacts(request)), False  # type: ignore[arg-type]

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return may_act(request, ACTIONS["resend"])

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return may_act(request, ACTIONS["cancel"])

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return may_act(request, ACTIONS["erase"])

    @admin.action(description=_("Resend the selected events"), permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: OutboxEventQuerySet) -> HttpResponse:
        return Confirmation(self).ask_about(request, ACTIONS["resend"], queryset)

    @admin.action(description=_("Cancel the selected events"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: OutboxEventQuerySet) -> HttpResponse:
        return Confirmation(self).ask_about(request, ACTIONS["cancel"], queryset)

    @admin.action(description=_("Erase the contacts of the selected events"), permissions=["erase"])
    def erase(self, request: HttpRequest, queryset: OutboxEventQuerySet) -> HttpResponse:
        return Confirmation(self).ask_about(request, ACTIONS["erase"], queryset)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if event := context.get("original"):
            context |= EventPage(self, request, event).context()
        return super().render_change_form(request, context, *args, **kwargs)
