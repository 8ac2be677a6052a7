from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events import engines
from brevo_events.admin.actions import ACTIONS, Action
from brevo_events.models import OutboxEvent, outbox
from brevo_events.querysets import Changed, in_batches

MOST = 10_000  # events that are changed at once
LOGGED_SINGLY = 100  # events; of more, the admin's log gets one entry


class Confirmation:
    """
    Show what an action will do, and do it once a user has said yes.

    Every step is a POST behind the action's permission; nothing is sent in the
    request.
    """

    template_name = "admin/brevo_events/outboxevent/confirmation.html"

    def __init__(self, model_admin: ModelAdmin[OutboxEvent]) -> None:
        self._admin = model_admin

    def view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Answer the page of an action, for the events that the form names."""
        if (action := ACTIONS.get(name)) is None:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        pks = _numbers(request.POST.get("pks", ""))
        if "confirmed" not in request.POST:
            return self.ask(request, action, pks)
        self._check(request, action)
        # Together, so that nothing is changed of which the admin's log does not tell.
        with transaction.atomic(using=outbox().db):
            outbox().begin_writing()
            changed = action.change(pks, **_chosen(action, request))
            self._log(request, action, changed.pks)
        # Robust: what was done is done, whatever the engine says.
        transaction.on_commit(lambda: engines.nudge(in_background=True), using=outbox().db, robust=True)
        self._tell(request, action, changed)
        return HttpResponseRedirect(self._back(request, pks))

    def ask_about(self, request: HttpRequest, action: Action, events: QuerySet[OutboxEvent]) -> HttpResponse:
        """Show what would be done to the events that were selected in the list."""
        pks = list(events.values_list("pk", flat=True)[: MOST + 1])
        if len(pks) > MOST:
            self._admin.message_user(request, _("Only the newest 10,000 of them are taken at once."), messages.WARNING)
        return self.ask(request, action, pks[:MOST], back=request.get_full_path())

    def ask(self, request: HttpRequest, action: Action, pks: list[int], back: str = "") -> HttpResponse:
        """Show what would be done to these events, and ask."""
        self._check(request, action)
        plan = action.change(pks, dry_run=True)
        options = _options(action, pks, plan)
        # With all boxes ticked: whoever ticks one has to know what that means.
        most = action.change(pks, dry_run=True, **dict.fromkeys(action.options, True)).pks if options else plan.pks
        context = {
            **self._admin.admin_site.each_context(request),
            "opts": self._admin.opts,
            "title": action.title,
            "action": action,
            "planned": _counted(action.planned, len(plan.pks)) if plan.pks else "",
            "oldest": _oldest(most),
            "skipped": plan.skipped,
            "facts": action.facts(request, most) if most else [],
            "options": options,
            "pks": ",".join(map(str, pks)),
            "back": back or self._back(request, pks),
        }
        request.current_app = self._admin.admin_site.name
        return TemplateResponse(request, self.template_name, context)

    def _check(self, request: HttpRequest, action: Action) -> None:
        if not (self._admin.has_view_permission(request) and request.user.has_perm(action.permission)):
            raise PermissionDenied

    def _log(self, request: HttpRequest, action: Action, pks: list[int]) -> None:
        user: Any = request.user
        if len(pks) > LOGGED_SINGLY:
            LogEntry.objects.create(
                user=user,
                content_type=ContentType.objects.get_for_model(OutboxEvent),
                object_repr=_("%d events") % len(pks),
                action_flag=CHANGE,
                change_message=str(action.logged),
            )
            return
        for batch in in_batches(pks):
            events: Any = outbox().filter(pk__in=batch).only("name")
            LogEntry.objects.log_actions(user.pk, events, CHANGE, str(action.logged))

    def _tell(self, request: HttpRequest, action: Action, changed: Changed) -> None:
        if count := len(changed.pks):
            self._admin.message_user(request, _counted(action.done, count), messages.SUCCESS)
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
        where, arguments = ("change", pks) if len(pks) == 1 else ("changelist", [])
        site = self._admin.admin_site.name
        return reverse(f"admin:brevo_events_outboxevent_{where}", args=arguments, current_app=site)


def _numbers(text: str) -> list[int]:
    numbers = text.split(",") if text else []
    if len(numbers) > MOST or not all(number.isdecimal() and len(number) < 19 for number in numbers):
        raise BadRequest("pks must be numbers of events.")
    return [int(number) for number in numbers]


def _options(action: Action, pks: list[int], plan: Changed) -> list[dict[str, Any]]:
    """Return the boxes that can be ticked, each with the number of events that do not go without it."""
    found, ticked, skipped = [], {}, plan.skipped
    others = sorted({*pks} - {*plan.pks})
    for name, (reason, label) in action.options.items():
        if count := skipped.get(str(reason)):
            found.append({"name": name, "label": label, "count": count})
            # An event is skipped for the first reason only, in the order of the options, and may need two of them.
            ticked[name] = True
            skipped = action.change(others, dry_run=True, **ticked).skipped
    return found


def _oldest(pks: list[int]) -> datetime | None:
    """Return when the first of these events was captured."""
    found = [outbox().filter(pk__in=batch).aggregate(oldest=Min("created_at")) for batch in in_batches(pks)]
    return min((one["oldest"] for one in found if one["oldest"]), default=None)


def _chosen(action: Action, request: HttpRequest) -> dict[str, bool]:
    return {name: True for name in action.options if name in request.POST}


def _counted(text: Any, count: int) -> str:
    return str(text % count)
