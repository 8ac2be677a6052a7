from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from brevo_events.admin.actions import ACTIONS, Action
from brevo_events.admin.banner import banner
from brevo_events.admin.changelist import CappedPaginator, NewestFirst, is_of_finished
from brevo_events.admin.confirmation import Confirmation
from brevo_events.admin.filters import EndedFilter, NameFilter, ResponseCodeFilter, StatusFilter
from brevo_events.admin.masking import masked, may_see_contacts
from brevo_events.admin.overview import Overview
from brevo_events.admin.relations import others_of_contact, source_of
from brevo_events.admin.request import curl, readable
from brevo_events.admin.timeline import timeline
from brevo_events.choices import Status
from brevo_events.events import contact_of
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet

FILTERS = (StatusFilter, NameFilter, ResponseCodeFilter, EndedFilter)
FILTERED = {str(each.parameter_name) for each in FILTERS}


class _ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(OutboxEvent)
class OutboxEventAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Show what was captured and what Brevo answered."""

    list_display = ("status_label", "name", "email", "response_code", "attempts", "created_at", "next_attempt")
    list_display_links = ("status_label", "name")
    list_filter = FILTERS
    list_per_page = 50
    paginator = CappedPaginator
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = _("A whole e-mail address, the number of an event, or the id of an object such as cart:1234.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    actions = ("resend", "cancel", "erase")
    fieldsets = ((None, {"fields": ("status_label", "name", "email", "object_id", "attempts")}),)
    change_form_template = "admin/brevo_events/outboxevent/change_form.html"

    class Media:
        css = {"all": ["brevo_events/admin.css", "brevo_events/overview.css"]}
        js = [Script("brevo_events/copy.js", defer=True)]

    def get_urls(self) -> list[URLPattern]:
        action = self.admin_site.admin_view(Confirmation(self).view)
        return [
            *Overview(self).urls(),
            path("actions/<slug:name>/", action, name="brevo_events_outboxevent_action"),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    def get_list_display(self, request: HttpRequest) -> Any:
        instead = {} if may_see_contacts(request) else {"email": "masked_email"}
        if is_of_finished(request):
            instead["next_attempt"] = "finished_at"
        return [instead.get(column, column) for column in self.list_display]

    def get_fieldsets(self, request: HttpRequest, obj: OutboxEvent | None = None) -> Any:
        if may_see_contacts(request):
            return self.fieldsets
        masked_ = {"email": "masked_email", "object_id": "masked_object"}
        return [(None, {"fields": [masked_.get(str(name), name) for name in self.fieldsets[0][1]["fields"]]})]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        # What an action answers is a page of its own.
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            response.context_data["banner"] = banner()  # type: ignore[index]
        return response

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # By default any column may be asked, as in ?email__startswith=a, and the answer tells what is masked.
        return lookup in FILTERED

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        """Search by what an index answers at once: a whole address, a number, the id of an object."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        if "@" in term:
            return queryset.filter(contact=contact_of(term)) | queryset.filter(object_id=term), False
        if term.isdecimal() and len(term) < 19:
            return queryset.filter(pk=int(term)) | queryset.filter(object_id=term), False
        return queryset.filter(object_id=term), False

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("brevo_events.resend_outboxevent")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("brevo_events.cancel_outboxevent")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("brevo_events.erase_contact")

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
            shows_contact = may_see_contacts(request)
            context |= {
                "banner": banner(),
                "event_actions": [a for a in self._possible(event) if request.user.has_perm(a.permission)],
                "moments": timeline(event, shows_contact=shows_contact),
                "source": source_of(event, self.admin_site, request),
                "shows_contact": shows_contact,
                "others": others_of_contact(event),
            }
            if shows_contact and not event.is_erased:
                context |= {"request_body": readable(event), "curl": curl(event)}
        return super().render_change_form(request, context, *args, **kwargs)

    def _possible(self, event: OutboxEvent) -> list[Action]:
        names = {
            "resend": event.is_finished and not event.is_erased,
            "cancel": event.status == Status.PENDING,
            "erase": not event.is_erased,
        }
        return [ACTIONS[name] for name, is_possible in names.items() if is_possible]

    @admin.display(description=_("contact"))
    def masked_email(self, event: OutboxEvent) -> str:
        return masked(event.email)

    @admin.display(description=_("object"))
    def masked_object(self, event: OutboxEvent) -> str:
        object_id = event.object_id or "-"
        return masked(object_id) if "@" in object_id else object_id

    @admin.display(description=_("status"))
    def status_label(self, event: OutboxEvent) -> str:
        return format_html(
            '<span class="brevo-status brevo-status-{}">{}</span>{}',
            event.status,
            event.get_status_display(),
            f" {event.get_reason_display()}" if event.reason and event.is_finished else "",
        )

    @admin.display(description=_("next attempt"))
    def next_attempt(self, event: OutboxEvent) -> Any:
        if event.parked:
            return _("after an earlier event of the contact")
        return "–" if event.is_finished else event.due_at
