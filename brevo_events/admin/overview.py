from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from brevo_events import engines
from brevo_events.admin.banner import advice, banner, span
from brevo_events.admin.charts import Bar, Series, bar_chart, number, share_bar
from brevo_events.admin.masking import may_see_contacts
from brevo_events.choices import Status
from brevo_events.figures import NEWEST_FAILED, WAITING_LIMIT, Failure, Figures, Span, figures
from brevo_events.models import Gate
from brevo_events.retry import meaning
from brevo_events.stats import take_pulse

TEMPLATE = "admin/brevo_events/outboxevent/overview.html"


class Overview:
    """Show how delivery fares, beside the list of the events, and let it be paused and resumed."""

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site

    def urls(self) -> list[URLPattern]:
        """Return the addresses of the page and of its two buttons."""
        views = {
            "overview": ("overview/", require_safe(self.show)),
            "pause": ("overview/pause/", require_POST(self.pause)),
            "resume": ("overview/resume/", require_POST(self.resume)),
        }
        return [
            path(route, self._site.admin_view(view), name=f"brevo_events_outboxevent_{name}")
            for name, (route, view) in views.items()
        ]

    def show(self, request: HttpRequest) -> HttpResponse:
        """Show the page; the gate and the oldest due event as they are now, the figures at most a minute old."""
        self._require(request, self._admin.has_view_permission(request))
        pulse, found = take_pulse(), figures()
        request.current_app = self._site.name
        context = {
            **self._site.each_context(request),
            "title": _("Overview"),
            "opts": self._admin.opts,
            "banner": banner(pulse),
            "pulse": pulse,
            "oldest_due": span(pulse.oldest_due_seconds) if pulse.oldest_due_seconds else None,
            "advice": advice(pulse.gate),
            "can_pause": self._can_pause(request),
            "figures": found,
            "waiting": number(found.waiting),
            "last_sent": span((timezone.now() - found.last_sent_at).total_seconds()) if found.last_sent_at else None,
            "is_waiting_capped": found.waiting >= WAITING_LIMIT,
            "charts": _charts(found),
            "codes": _codes(found),
            "failures": [(failure, self._failed_like(failure)) for failure in found.failures],
            "shows_contact": may_see_contacts(request),
            "newest_failed": NEWEST_FAILED,
        }
        return TemplateResponse(request, TEMPLATE, context)

    def pause(self, request: HttpRequest) -> HttpResponse:
        """Hold everything back until somebody resumes delivery."""
        return self._turn(request, Gate.pause, _("Paused."), is_pause=True)

    def resume(self, request: HttpRequest) -> HttpResponse:
        """End the pause, and let the engine look at what is due; nothing is sent in the request."""
        return self._turn(request, Gate.resume, _("Resumed."), is_pause=False)

    def _turn(self, request: HttpRequest, turn: Callable[[Gate], None], entry: str, *, is_pause: bool) -> HttpResponse:
        self._require(request, self._can_pause(request))
        gate = Gate.load()
        if gate.is_paused != is_pause:
            turn(gate)
            gate = Gate.load()
            LogEntry.objects.log_actions(request.user.pk, [gate], CHANGE, entry)  # type: ignore[arg-type]
        if not is_pause:
            nudge = lambda: engines.nudge(in_background=True)  # noqa: E731
            transaction.on_commit(nudge, using=router.db_for_write(Gate))
        self._admin.message_user(request, *_told(gate))
        page = reverse("admin:brevo_events_outboxevent_overview", current_app=self._site.name)
        return HttpResponseRedirect(page)

    def _can_pause(self, request: HttpRequest) -> bool:
        return self._admin.has_view_permission(request) and request.user.has_perm("brevo_events.pause_delivery")

    def _require(self, request: HttpRequest, is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied

    def _failed_like(self, failure: Failure) -> str:
        """Return the address of the list of the failed events of that name."""
        page = reverse("admin:brevo_events_outboxevent_changelist", current_app=self._site.name)
        return f"{page}?{urlencode({'status': Status.FAILED, 'name': failure.name})}"


def _told(gate: Gate) -> tuple[str, int]:
    if gate.is_paused:
        return _("Delivery is paused. What is in flight goes on; events are kept until you resume."), messages.SUCCESS
    if gate.is_closed:
        text = _("The pause is over, but sending is still held back: %s.") % gate.get_reason_display()
        return text, messages.WARNING
    return _("Delivery is resumed: what is due goes out."), messages.SUCCESS


def _charts(found: Figures) -> list[dict[str, Any]]:
    hours = [(_hour(one.start), _time(one.start) if _local(one.start).hour % 6 == 0 else "") for one in found.hours]
    last = len(found.days) - 1
    days = [(_day(one.start), _day(one.start) if (last - n) % 14 == 0 else "") for n, one in enumerate(found.days)]
    return [
        _chart("hours", _("Last 24 hours"), _("Hour"), found.hours, hours),
        _chart("days", _("Last 30 days"), _("Day"), found.days, days),
    ]


def _chart(key: str, title: str, unit: str, spans: Sequence[Span], names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    series = [Series("sent", _("sent")), Series("failed", _("failed")), Series("waiting", _("still waiting"))]
    values = [(one.sent, one.failed, one.waiting) for one in spans]
    totals = [sum(column) for column in zip(*values, strict=True)]
    described = ", ".join(f"{number(total)} {one.label}" for total, one in zip(totals, series, strict=True))
    bars = [Bar(name, value, label) for (name, label), value in zip(names, values, strict=True)]
    return {
        "key": key,
        "title": title,
        "unit": unit,
        "svg": bar_chart(bars, series, key=f"brevo-{key}", title=title, description=described),
        "legend": [(one, number(total)) for one, total in zip(series, totals, strict=True)],
        "rows": [(bar.name, [number(value) for value in bar.values]) for bar in reversed(bars)],
    }


def _codes(found: Figures) -> list[tuple[str, str, int, SafeString]]:
    all_of_them = found.requests.count
    return [
        (
            str(code or error or _("no answer")),
            str(meaning(code, error or "other")),
            count,
            share_bar(count / all_of_them),
        )
        for code, error, count in found.requests.codes
    ]


def _local(moment: datetime) -> datetime:
    return timezone.localtime(moment)


def _time(moment: datetime) -> str:
    return date_format(_local(moment), "TIME_FORMAT")


def _day(moment: datetime) -> str:
    return date_format(_local(moment), "MONTH_DAY_FORMAT")


def _hour(moment: datetime) -> str:
    return f"{_day(moment)}, {_time(moment)}"
