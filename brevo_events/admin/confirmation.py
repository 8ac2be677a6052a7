from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events import engines
from brevo_events.actions import ACTIONS, Action, Refused
from brevo_events.admin import log
from brevo_events.admin.permissions import may_act, may_see_contacts
from brevo_events.admin.plan import described, left_out
from brevo_events.admin.question import BATCH
from brevo_events.admin.redirects import unchanged
from brevo_events.models import OutboxEvent
from brevo_events.querysets import Changed, OutboxEventQuerySet

MOST = 10_000  # events changed at once


class Confirmation:
    """
    The page that shows what an action will do, and does it when the user confirms.

    Every step is a POST request behind the action's permission; nothing is sent
    in the request.
    """

    template_name = "admin/brevo_events/outboxevent/confirmation.html"

    def __init__(self, model_admin: ModelAdmin[OutboxEvent]) -> None:
        self._admin = model_admin

    def view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Handle an action's page, for the events that the form names."""
        if (action := ACTIONS.get(name)) is None:
            raise Http404
        self._check(request, action)
        if request.method in ("GET", "HEAD"):
            return unchanged(request, self._list())
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        pks = _ids(request.POST.get("pks", ""))
        back = self._back(request, pks)
        if "confirmed" not in request.POST:
            return self.ask(request, action, pks, back)
        if question := self._unanswered(request, action, pks):
            self._admin.message_user(request, question, messages.WARNING)
            return self.ask(request, action, pks, back)
        self._do(request, action, pks)
        return HttpResponseRedirect(back)

    def ask_about(
        self, request: HttpRequest, action: Action, events: QuerySet[OutboxEvent], back: str = ""
    ) -> HttpResponse:
        """Show what would be done to the newest of some events; ``back`` defaults to the current URL."""
        pks = list(events.values_list("pk", flat=True)[: MOST + 1])
        if len(pks) > MOST:
            self._admin.message_user(
                request, _("Only the newest 10,000 were selected. Repeat for the rest."), messages.WARNING
            )
        return self.ask(request, action, pks[:MOST], back or request.get_full_path())

    def ask(self, request: HttpRequest, action: Action, pks: list[int], back: str) -> HttpResponse:
        """Show what would be done to these events with the ticked boxes, and ask for confirmation."""
        self._check(request, action)
        events, ticked, shows_contact = self._events(request), _ticked(action, request), may_see_contacts(request)
        try:
            plan = action.change(events, pks, dry_run=True, **ticked)
        except Refused as error:
            self._admin.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(back)
        about, skipped = described(events, plan.pks), left_out(action, plan, ticked)
        context = {
            **self._admin.admin_site.each_context(request),
            "opts": self._admin.opts,
            "title": action.title,
            "action": action,
            "planned": str(action.planned % len(plan.pks)) if plan.pks else "",
            "button": str(action.confirm_label % len(plan.pks)),
            "about": about,
            "names": about.names.most_common(),
            "contacts": about.addresses(shows_contact=shows_contact)[: action.contacts_shown],
            "facts": action.facts(events, plan.pks) if plan.pks else [],
            "total": len(plan.pks),
            "left_out": skipped,
            "can_recalculate": any(one.box for one in skipped),
            "to_type": len(about.contacts) if action.is_final and len(about.contacts) > 1 else None,
            "ticked": ",".join(ticked),
            "pks": ",".join(map(str, pks)),
            "back": back,
        }
        request.current_app = self._admin.admin_site.name
        return TemplateResponse(request, self.template_name, context)

    def _unanswered(self, request: HttpRequest, action: Action, pks: list[int]) -> str:
        """Return why the question must be asked again, such as changed boxes; empty if it needn't."""
        if request.POST.get("ticked", "") != ",".join(_ticked(action, request)):
            return _("The boxes were changed. These are the numbers with them.")
        if action.is_final:
            contacts = len(described(self._events(request), pks).contacts)
            if contacts > 1 and request.POST.get("contacts", "").strip() != str(contacts):
                return _("Nothing was erased. Type the number of contacts first.")
        return ""

    def _do(self, request: HttpRequest, action: Action, pks: list[int]) -> None:
        try:
            # In one transaction, so that no change is missing from the admin's log.
            with transaction.atomic(using=OutboxEvent.objects.db):
                OutboxEvent.objects.begin_writing()
                changed = action.change(self._events(request), pks, **_ticked(action, request))
                entry = log.write(request.user, action.logged, changed.pks)
        except Refused as error:
            self._admin.message_user(request, str(error), messages.ERROR)
            return
        # Robust, because the events are changed, even if the engine raises.
        transaction.on_commit(lambda: engines.nudge(in_background=True), using=OutboxEvent.objects.db, robust=True)
        self._report(request, action, changed, entry)

    def _events(self, request: HttpRequest) -> OutboxEventQuerySet:
        """Return the events that this user may change: a project's own ``get_queryset`` may hide some."""
        events: OutboxEventQuerySet = self._admin.get_queryset(request)  # type: ignore[assignment]
        return events.order_by().using(OutboxEvent.objects.db)

    def _check(self, request: HttpRequest, action: Action) -> None:
        if not (self._admin.has_view_permission(request) and may_act(request, action)):
            raise PermissionDenied

    def _report(self, request: HttpRequest, action: Action, changed: Changed, entry: int | None) -> None:
        if count := len(changed.pks):
            told = str(action.done % count)
            if count > 1 and entry:
                url = f"{self._list()}?{urlencode({BATCH: entry})}"
                told = format_html('{} <a href="{}">{}</a>', told, url, _("See them"))
            self._admin.message_user(request, told, messages.SUCCESS)
        for reason, skipped in changed.skipped.items():
            text = ngettext(
                "%(count)d event was skipped: %(reason)s.", "%(count)d events were skipped: %(reason)s.", skipped
            )
            self._admin.message_user(request, text % {"count": skipped, "reason": reason}, messages.WARNING)
        if not changed.pks and not changed.skipped:
            self._admin.message_user(request, _("There is nothing to do."), messages.WARNING)

    def _back(self, request: HttpRequest, pks: list[int]) -> str:
        back = request.POST.get("back", "")
        if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
            return back
        if len(pks) == 1:
            site = self._admin.admin_site.name
            return reverse("admin:brevo_events_outboxevent_change", args=pks, current_app=site)
        return self._list()

    def _list(self) -> str:
        return reverse("admin:brevo_events_outboxevent_changelist", current_app=self._admin.admin_site.name)


def _ids(text: str) -> list[int]:
    ids = text.split(",") if text else []
    if len(ids) > MOST or not all(each.isdecimal() and len(each) < 19 for each in ids):
        raise BadRequest("pks must be IDs of events.")
    return [int(each) for each in ids]


def _ticked(action: Action, request: HttpRequest) -> dict[str, bool]:
    return {name: True for name in action.options if name in request.POST}
