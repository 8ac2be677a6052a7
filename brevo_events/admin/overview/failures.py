"""Groups of failures: the row of each group on the overview, and its button."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from brevo_events.actions import ACTIONS
from brevo_events.admin.charts import number
from brevo_events.admin.confirmation import Confirmation
from brevo_events.admin.permissions import may_act
from brevo_events.admin.redirects import unchanged
from brevo_events.choices import Status
from brevo_events.failures import FailureGroup
from brevo_events.models import OutboxEvent
from brevo_events.times import ago, exactly

RESEND = ACTIONS["resend"]


class FailureRow(NamedTuple):
    """The row of a group; ``resend`` is the text of its button, empty if all of its events will be retried anyway."""

    group: FailureGroup
    url: str
    failed: str
    contacts: str
    waiting: str
    first_at: str
    first_ago: str
    last_at: str
    last_ago: str
    resend: str


class Failures:
    """The groups of failures on the overview, each with a link to its events and a button that resends them."""

    def __init__(self, model_admin: admin.ModelAdmin[Any]) -> None:
        self._admin = model_admin
        self._site = model_admin.admin_site

    def urls(self) -> list[URLPattern]:
        """Return the URL of the buttons."""
        resend = self._site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.resend))
        return [path("overview/resend/", resend, name="brevo_events_outboxevent_resend_failures")]

    def may_resend(self, request: HttpRequest) -> bool:
        """Return whether this user may press the buttons."""
        return self._admin.has_view_permission(request) and may_act(request, RESEND)

    def rows(self, groups: list[FailureGroup]) -> list[FailureRow]:
        """Return the row of each group."""
        return [self._row(group) for group in groups]

    def resend(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation before resending a group's failed events, as everywhere."""
        if not self.may_resend(request):
            raise PermissionDenied
        overview = self._address("overview")
        if request.method != "POST":
            return unchanged(request, overview)
        # PostgreSQL rejects a NUL even in a comparison.
        failure = request.POST.get("failure", "").replace("\0", "")
        of_group = OutboxEvent.objects.of_failure(failure).filter(status=Status.FAILED).order_by("-failed_at")
        return Confirmation(self._admin).ask_about(request, RESEND, of_group, overview)

    def _row(self, group: FailureGroup) -> FailureRow:
        more = "+" if group.is_capped else ""
        resend = ""
        if group.failed:
            resend = _("Resend the newest %s…") if group.is_capped else _("Resend %s…")
        return FailureRow(
            group=group,
            url=f"{self._address('changelist')}?{urlencode({'failure': group.failure})}",
            failed=_counted(ngettext("%s event failed", "%s events failed", group.failed), group.failed, more),
            contacts=_counted(ngettext("%s contact", "%s contacts", group.contacts), group.contacts, more),
            waiting=_("%s waiting") % number(group.waiting) if group.waiting else "",
            first_at=exactly(group.first_at),
            first_ago=ago(group.first_at),
            last_at=exactly(group.last_at),
            last_ago=ago(group.last_at),
            resend=resend and resend % number(group.failed),
        )

    def _address(self, where: str) -> str:
        return reverse(f"admin:brevo_events_outboxevent_{where}", current_app=self._site.name)


def _counted(text: str, count: int, more: str) -> str:
    return text % (number(count) + more)
