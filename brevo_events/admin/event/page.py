"""An event's page: the sentence, the timeline, the data that was sent, facts and links."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.actions import ACTIONS, Action
from brevo_events.admin.charts import number
from brevo_events.admin.curl import curl, readable
from brevo_events.admin.event.answer import answer_of, state_word
from brevo_events.admin.event.content import content_of, summary_of
from brevo_events.admin.event.history import History, history_of
from brevo_events.admin.event.relations import Related, related_to
from brevo_events.admin.event.source import source_of
from brevo_events.admin.event.timeline import timeline
from brevo_events.admin.permissions import contact_of, may_act, may_see_contacts, object_of
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.times import ago, clock, day, zone


@dataclass(frozen=True, slots=True)
class Fact:
    """A line next to the timeline: a label, its value, and a short note; ``url`` makes the value a link."""

    label: str
    value: str
    remark: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """A row in a list of events: what happened to another event of the same contact."""

    event: OutboxEvent
    word: str
    day: str
    clock: str
    object_id: str
    summary: str
    is_same_object: bool = False


class EventPage:
    """Everything that the template of an event's page shows."""

    def __init__(self, model_admin: ModelAdmin[OutboxEvent], request: HttpRequest, event: OutboxEvent) -> None:
        self._admin, self._request, self._event = model_admin, request, event
        self._site = model_admin.admin_site
        self._shows_contact = may_see_contacts(request)

    def context(self) -> dict[str, Any]:
        """Return the context, with some fifteen queries, however many attempts and other events there are."""
        event, shows_contact = self._event, self._shows_contact
        events: OutboxEventQuerySet = self._admin.get_queryset(self._request)  # type: ignore[assignment]
        history, related = history_of(event, events), related_to(event, events)
        return {
            "title": str(event),
            "subtitle": None,
            "state": history.state,
            "is_live": not event.is_finished,
            "word": state_word(event),
            "answer": answer_of(history, self._link, shows_contact=shows_contact),
            "steps": timeline(history, shows_contact=shows_contact),
            "source": source_of(event, self._site, self._request),
            "zone": zone(),
            "facts": self._facts(history, related),
            "event_actions": self._actions("resend", "cancel"),
            "erase": next(iter(self._actions("erase")), None),
            "may_export": shows_contact and not event.is_erased,
            "related": related,
            "others": [self._other(other) for other in related.others],
            "contact_url": "" if event.is_erased else self._address("contact", event.pk),
            **self._sent(),
        }

    def _sent(self) -> dict[str, Any]:
        if not self._shows_contact or self._event.is_erased:
            return {}
        body = json.loads(self._event.body)
        return {"content": content_of(body), "request_body": readable(self._event), "curl": curl(self._event)}

    def _actions(self, *names: str) -> list[Action]:
        event = self._event
        is_possible = {
            "resend": event.is_finished and not event.is_erased,
            "cancel": event.status == Status.PENDING,
            "erase": not event.is_erased,
        }
        return [ACTIONS[name] for name in names if is_possible[name] and may_act(self._request, ACTIONS[name])]

    def _facts(self, history: History, related: Related) -> list[Fact]:
        event = self._event
        facts = [*self._people(related), _moment(_("Captured"), event.created_at)]
        if event.finished_at:
            facts.append(_moment(state_word(event), event.finished_at))
        most = history.max_attempts
        attempts = (
            _("%(number)d of %(most)d") % {"number": event.attempts, "most": most} if most else str(event.attempts)
        )
        facts.append(Fact(_("Attempts"), attempts))
        facts.append(_moment(_("Expires"), event.expires_at) if event.expires_at else Fact(_("Expires"), _("never")))
        if options := _options(event):
            facts.append(Fact(_("Options"), options))
        return facts

    def _people(self, related: Related) -> list[Fact]:
        event, shows_contact = self._event, self._shows_contact
        if event.is_erased:
            return [Fact(_("Contact"), _("erased"))]
        count = count_of(related.count, is_capped=related.is_capped)
        email = contact_of(event, shows_contact=shows_contact)
        facts = [Fact(_("Contact"), email, count, self._address("contact", event.pk))]
        if object_id := object_of(event, shows_contact=shows_contact):
            # A search for an object that is an address would reveal the address.
            can_search = shows_contact or "@" not in object_id
            url = f"{self._address('changelist')}?{urlencode({'q': event.object_id})}" if can_search else ""
            facts.append(Fact(_("Object"), object_id, count_of(related.of_object), url))
        return facts

    def _other(self, other: OutboxEvent) -> Other:
        is_same = self._event.object_id is not None and other.object_id == self._event.object_id
        return replace(other_of(other, shows_contact=self._shows_contact), is_same_object=is_same)

    def _link(self, other: OutboxEvent) -> SafeString:
        return format_html('<a href="{}"><bdi>{}</bdi></a>', self._address("change", other.pk), str(other))

    def _address(self, where: str, *arguments: Any) -> str:
        return reverse(f"admin:brevo_events_outboxevent_{where}", args=arguments, current_app=self._site.name)


def other_of(event: OutboxEvent, *, shows_contact: bool) -> Other:
    """Return an event as a row of a list."""
    return Other(
        event=event,
        word=state_word(event),
        day=day(event.created_at),
        clock=clock(event.created_at),
        object_id=object_of(event, shows_contact=shows_contact),
        summary=summary_of(json.loads(event.body)) if shows_contact else "",
    )


def _moment(label: str, moment: Any) -> Fact:
    return Fact(label, f"{day(moment)}, {clock(moment)}", ago(moment))


def _options(event: OutboxEvent) -> str:
    names = []
    if event.coalesce_key:
        names.append(_("coalesce"))
    if event.idempotency_key:
        names.append(_("idempotency key"))
    return ", ".join(names)


def count_of(count: int, *, is_capped: bool = False) -> str:
    shown = f"{number(count)}+" if is_capped else number(count)
    return ngettext("%s event", "%s events", count) % shown
