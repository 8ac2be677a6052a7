from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from brevo_events import engines
from brevo_events.admin.banner import banner
from brevo_events.admin.filters import NameFilter, ResponseCodeFilter
from brevo_events.admin.overview import Overview
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet, Resent, in_batches
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
    actions = ("resend",)
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
        resend = self.admin_site.admin_view(self.resend_view)
        return [
            *Overview(self).urls(),
            path("<path:object_id>/resend/", resend, name="brevo_events_outboxevent_resend"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            response.context_data["banner"] = banner()
        return response

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

    @admin.action(description=_("Resend the selected events"), permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: OutboxEventQuerySet) -> None:
        self._tell(request, self._resend(request, queryset))

    def resend_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make one event due again, also one that was sent, and go back to its page; an outdated one stays as it is."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_resend_permission(request)):
            raise PermissionDenied
        event = self.get_object(request, unquote(object_id))
        if event is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        chosen = OutboxEvent.objects.filter(pk=event.pk)
        self._tell(request, self._resend(request, chosen, include_sent=True))
        page = reverse("admin:brevo_events_outboxevent_change", args=(event.pk,), current_app=self.admin_site.name)
        return HttpResponseRedirect(page)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        event = context.get("original")
        context["can_resend"] = bool(event and event.is_finished and self.has_resend_permission(request))
        return super().render_change_form(request, context, *args, **kwargs)

    def _resend(self, request: HttpRequest, events: QuerySet[OutboxEvent], **included: bool) -> Resent:
        resent = OutboxEvent.objects.filter(pk__in=events.values_list("pk", flat=True)).resend(**included)
        for pks in in_batches(resent.pks):
            changed = OutboxEvent.objects.on_primary().filter(pk__in=pks)
            LogEntry.objects.log_actions(request.user.pk, changed, CHANGE, "Resent.")  # type: ignore[arg-type]
        engines.nudge(in_background=True)
        return resent

    def _tell(self, request: HttpRequest, resent: Resent) -> None:
        if count := len(resent.pks):
            text = ngettext("%d event is due again.", "%d events are due again.", count) % count
            self.message_user(request, text, messages.SUCCESS)
        for reason, skipped in resent.skipped.items():
            text = ngettext(
                "%(count)d event was skipped: %(reason)s.", "%(count)d events were skipped: %(reason)s.", skipped
            )
            self.message_user(request, text % {"count": skipped, "reason": reason}, messages.WARNING)

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
