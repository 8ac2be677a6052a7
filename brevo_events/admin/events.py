from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from brevo_events.admin.actions import ACTIONS, Action
from brevo_events.admin.confirmation import Confirmation
from brevo_events.admin.filters import NameFilter, ResponseCodeFilter
from brevo_events.admin.masking import masked, may_see_contacts
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.retry import meaning


class _ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SendAttemptInline(_ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """Show each request below its event."""

    model = SendAttempt
    extra = 0
    fields = readonly_fields = ("started_at", "duration_ms", "response_code", "error", "message")
    ordering = ("pk",)
    verbose_name_plural = _("attempts")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Brevo may repeat the address in its message.
        return self.fields if may_see_contacts(request) else self.fields[:-1]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Whoever may see the event may see how it fared.
        return request.user.has_perm("brevo_events.view_outboxevent")

    @admin.display(description=_("message"))
    def message(self, attempt: SendAttempt) -> str:
        return attempt.message


@admin.register(OutboxEvent)
class OutboxEventAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Show what was captured and what Brevo answered."""

    list_display = ("status_label", "name", "email", "response_code", "attempts", "created_at", "next_attempt")
    list_display_links = ("status_label", "name")
    list_filter = ("status", NameFilter, ResponseCodeFilter, "created_at")
    list_per_page = 50
    search_fields = ("pk",)
    search_help_text = _("A whole e-mail address, the number of an event, or the id of an object such as cart:1234.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    actions = ("resend", "cancel", "erase")
    inlines = (SendAttemptInline,)
    fieldsets = (
        (None, {"fields": ("status_label", "answer_meaning", "response_code", "attempts", "next_attempt")}),
        (_("Event"), {"fields": ("name", "email", "object_id", "created_at", "available_at", "finished_at")}),
        (_("Request"), {"fields": ("readable_body",)}),
    )
    change_form_template = "admin/brevo_events/outboxevent/change_form.html"

    class Media:
        css = {"all": ["brevo_events/admin.css"]}

    def get_urls(self) -> list[URLPattern]:
        action = self.admin_site.admin_view(Confirmation(self).view)
        return [path("actions/<slug:name>/", action, name="brevo_events_outboxevent_action"), *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = "email" if may_see_contacts(request) else "masked_email"
        return [shown if column == "email" else column for column in self.list_display]

    def get_fieldsets(self, request: HttpRequest, obj: OutboxEvent | None = None) -> Any:
        if may_see_contacts(request):
            return self.fieldsets
        hidden: dict[Any, str] = {"email": "masked_email", "readable_body": "hidden_body"}
        return [
            (title, {**options, "fields": [hidden.get(name, name) for name in options["fields"]]})
            for title, options in self.fieldsets
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        """Search by what an index answers at once: a whole address, a number, the id of an object."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        if "@" in term:
            return OutboxEvent.objects.of_contact(term) & queryset, False
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
        event = context.get("original")
        if event and event.pk:
            context["event_actions"] = [
                action for action in self._possible(event) if request.user.has_perm(action.permission)
            ]
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

    @admin.display(description=_("body"))
    def hidden_body(self, event: OutboxEvent) -> str:
        return str(_("Hidden: your account may not see what is sent about contacts."))

    @admin.display(description=_("status"), ordering="status")
    def status_label(self, event: OutboxEvent) -> str:
        return format_html(
            '<span class="brevo-status brevo-status-{}">{}</span>{}',
            event.status,
            event.get_status_display(),
            f" {event.get_reason_display()}" if event.reason else "",
        )

    @admin.display(description=_("next attempt"), ordering="due_at")
    def next_attempt(self, event: OutboxEvent) -> Any:
        return "–" if event.is_finished else event.due_at

    @admin.display(description=_("what the answer means"))
    def answer_meaning(self, event: OutboxEvent) -> str:
        last = event.send_attempts.order_by("pk").last()
        return str(meaning(last.response_code, last.error) if last else meaning(None))

    @admin.display(description=_("body"))
    def readable_body(self, event: OutboxEvent) -> str:
        return format_html(
            "<pre class=brevo-body>{}</pre>", json.dumps(json.loads(event.body), indent=2, ensure_ascii=False)
        )
