from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from brevo_events import engines
from brevo_events.admin.permissions import may_pause
from brevo_events.admin.redirects import unchanged
from brevo_events.health import STALLED, state, take_pulse
from brevo_events.journal import MAX_PAUSE_REASON
from brevo_events.models import Gate
from brevo_events.times import exactly

TEMPLATE = "admin/brevo_events/outboxevent/pause.html"
MINUTES = {"15": 15, "60": 60}
AT_A_TIME = "at"


class PauseForm(forms.Form):
    """The reason for a pause, and when it ends by itself."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=MAX_PAUSE_REASON,
        required=False,
        help_text=gettext_lazy("Shown to everyone who sees these pages."),
    )
    end = forms.ChoiceField(
        label=gettext_lazy("Ends"),
        choices=[
            ("", gettext_lazy("When someone resumes delivery")),
            ("15", gettext_lazy("After 15 minutes")),
            ("60", gettext_lazy("After an hour")),
            (AT_A_TIME, gettext_lazy("At this time:")),
        ],
        required=False,
        widget=forms.RadioSelect,
    )
    until = forms.DateTimeField(
        label=gettext_lazy("Time"),
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def clean(self) -> dict[str, Any]:
        """Require a time in the future if, and only if, the pause is to end at a given time."""
        given = super().clean() or {}
        if given.get("until") and given.get("end") != AT_A_TIME:
            self.add_error("end", _("You entered a time: choose “At this time”, or clear it."))
        if given.get("end") == AT_A_TIME and "until" not in self.errors:
            until = given.get("until")
            if until is None or until <= timezone.now():
                self.add_error("until", _("Choose a time in the future."))
        return given

    @property
    def ends(self) -> datetime | timedelta | None:
        """The chosen end or duration; None if someone has to resume delivery."""
        end = self.cleaned_data["end"]
        if end == AT_A_TIME:
            return self.cleaned_data["until"]  # type: ignore[no-any-return]
        return timedelta(minutes=MINUTES[end]) if end else None


class Switch:
    """The buttons next to the state of delivery: pause it, resume it, end a hold early."""

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site

    def urls(self) -> list[URLPattern]:
        """Return the URLs of the buttons."""
        views = {"pause": self.pause, "resume": self.resume, "try_now": self.try_now}
        post = require_http_methods(["GET", "HEAD", "POST"])
        return [
            path(
                f"overview/{name.replace('_', '-')}/",
                self._site.admin_view(post(view)),
                name=f"brevo_events_outboxevent_{name}",
            )
            for name, view in views.items()
        ]

    def is_allowed(self, request: HttpRequest) -> bool:
        """Return whether this user may press the buttons."""
        return self._admin.has_view_permission(request) and may_pause(request)

    def pause(self, request: HttpRequest) -> HttpResponse:
        """Ask for the reason and the end of a pause, then pause delivery."""
        self._check(request)
        form = PauseForm(request.POST) if request.method == "POST" else PauseForm()
        if not form.is_valid():
            return self._ask(request, form)
        with transaction.atomic(using=router.db_for_write(Gate)):
            reason = form.cleaned_data["reason"]
            Gate.load().pause(by=request.user.get_username(), reason=reason, until=form.ends)
            gate = Gate.load()
            self._log(request, gate, _pause_entry(gate))
        text = _("Delivery is paused. Requests in flight go on; events wait until you resume.")
        if gate.paused_until:
            text = _("Delivery is paused until %s. Requests in flight go on.") % exactly(gate.paused_until)
        self._admin.message_user(request, text, messages.SUCCESS)
        return self._back()

    def resume(self, request: HttpRequest) -> HttpResponse:
        """End the pause and wake the engine; nothing is sent in the request."""
        self._check(request)
        if request.method != "POST":
            return unchanged(request, self._overview())
        gate = Gate.load()
        if gate.is_paused:
            gate.resume(by=request.user.get_username())
            self._log(request, Gate.load(), _("Resumed."))
        self._admin.message_user(request, *_after_resuming())
        return self._back_after_waking()

    def try_now(self, request: HttpRequest) -> HttpResponse:
        """End the cool-down of a hold and wake the engine, which probes; nothing is sent in the request."""
        self._check(request)
        if request.method != "POST":
            return unchanged(request, self._overview())
        if Gate.load().try_now():
            self._log(request, Gate.load(), _("Tried now."))
            self._admin.message_user(
                request, _("A few events are being sent now, to test the connection."), messages.SUCCESS
            )
        else:
            self._admin.message_user(request, _("Delivery is not on hold."), messages.WARNING)
        return self._back_after_waking()

    def _ask(self, request: HttpRequest, form: PauseForm) -> HttpResponse:
        request.current_app = self._site.name
        context = {
            **self._site.each_context(request),
            "title": _("Pause delivery"),
            "opts": self._admin.opts,
            "form": form,
            "zone": timezone.get_current_timezone_name(),
        }
        return TemplateResponse(request, TEMPLATE, context)

    def _log(self, request: HttpRequest, gate: Gate, entry: str) -> None:
        LogEntry.objects.log_actions(request.user.pk, [gate], CHANGE, entry)  # type: ignore[arg-type]

    def _check(self, request: HttpRequest) -> None:
        if not self.is_allowed(request):
            raise PermissionDenied

    def _back_after_waking(self) -> HttpResponse:
        nudge = lambda: engines.nudge(in_background=True)  # noqa: E731
        transaction.on_commit(nudge, using=router.db_for_write(Gate))
        return self._back()

    def _back(self) -> HttpResponse:
        return HttpResponseRedirect(self._overview())

    def _overview(self) -> str:
        return reverse("admin:brevo_events_outboxevent_overview", current_app=self._site.name)


def _pause_entry(gate: Gate) -> str:
    entry = _("Paused until %s.") % exactly(gate.paused_until) if gate.paused_until else _("Paused.")
    return f"{entry} {gate.pause_reason}".strip()


def _after_resuming() -> tuple[str, int]:
    now = state(take_pulse())
    # Nothing was sent during the pause, but that says nothing about what happens now.
    if now.is_faulty and now.name != STALLED:
        return _("The pause is over, but: %s") % now.title, messages.WARNING
    return _("Delivery is resumed: due events are sent."), messages.SUCCESS
