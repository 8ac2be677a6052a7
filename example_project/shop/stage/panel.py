"""The panel next to each page: events captured about the visitor, Brevo's answers, and what an automation would do."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from brevo_events import health
from brevo_events.models import OutboxEvent, Reason, SendAttempt, Status
from shop import customers
from shop.models import Customer
from shop.stage import brevo
from shop.stage.people import PEOPLE, Person
from shop.stage.reminders import DELAY, Reminder, reminder_of

SHOWN = 6  # rows
READ = 60  # events, most of which may be folded into other rows


@dataclass
class Row:
    """
    An event, the events folded into it, and the answers to all of them, oldest first.

    ``changes`` is how many changes of a cart it reports at once, ``spared`` how
    many reports it has made unnecessary. ``goes_out_at`` is when the first of
    them is due.
    """

    event: OutboxEvent
    goes_out_at: datetime
    answers: list[SendAttempt]
    changes: int = 1
    spared: int = 0
    wait: SafeString | str = ""

    @property
    def items(self) -> list[str]:
        """The contents of the cart or the order."""
        items = (self.event.data or {}).get("items", [])
        return [f"{item['quantity']} × {item['name']}" for item in items if "quantity" in item and "name" in item]

    def fold(self, older: OutboxEvent) -> None:
        """Add an event that isn't sent, because this one is."""
        self.answers = [*_answers(older), *self.answers]
        if older.name != self.event.name:
            self.spared += 1
            return
        self.changes += 1
        if older.due_at:
            self.goes_out_at = min(self.goes_out_at, older.due_at)


class Panel:
    """What the panel shows to a visitor at the moment."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.people, self.moods, self.reminder_delay = PEOPLE, brevo.Mood, DELAY

    @cached_property
    def customer(self) -> Customer | None:
        """The visitor, if the shop knows them."""
        return customers.current(self._request)

    @cached_property
    def person(self) -> Person | None:
        """Which of the three people the visitor is."""
        email = self.customer.email if self.customer else ""
        return next((person for person in PEOPLE.values() if person.email == email), None)

    @cached_property
    def brevo(self) -> brevo.PlayedBrevo | None:
        """The stand-in for Brevo; None if events are sent to the real one."""
        return brevo.running()

    @cached_property
    def delivery(self) -> health.State:
        """Whether events are sent, and if not, why."""
        return health.state(self._pulse)

    @cached_property
    def next_try(self) -> SafeString | str:
        """When the next try after a hold is, unless that is now."""
        gate = self._pulse.gate
        return ticking(gate.seconds_until_probe) if gate.seconds_until_probe and not gate.is_paused else ""

    @cached_property
    def reminder(self) -> Reminder | None:
        """The reminder about the visitor's last cart."""
        return reminder_of(self.customer.email, self.brevo.requests) if self.customer and self.brevo else None

    @cached_property
    def reminder_state(self) -> str:
        """The state of that reminder."""
        return self.reminder.state(time.monotonic()) if self.reminder else ""

    @property
    def reminder_wait(self) -> SafeString:
        """How long until it is sent."""
        due_at = self.reminder.due_at if self.reminder else None
        return ticking((due_at or 0.0) - time.monotonic())

    @cached_property
    def rows(self) -> list[Row]:
        """The visitor's latest events, newest first."""
        if self.customer is None:
            return []
        attempts = Prefetch("send_attempts", SendAttempt.objects.order_by("pk"), to_attr="answers")
        found = OutboxEvent.objects.of_contact(self.customer.email).order_by("-pk").prefetch_related(attempts)
        events = list(found[:READ])
        rows = _folded(events)[:SHOWN]
        for row in rows:
            row.wait = self._wait(row, [event for event in events if event.pk < row.event.pk])
        return rows

    @cached_property
    def _pulse(self) -> health.Pulse:
        return health.take_pulse()

    def _wait(self, row: Row, older: list[OutboxEvent]) -> SafeString | str:
        """Return why an event is waiting, and for how long."""
        event, now = row.event, timezone.now()
        if event.status == Status.SENDING:
            return _("Being sent: Brevo has not answered yet.")
        if event.status != Status.PENDING:
            return ""
        if row.goes_out_at > now:
            text = _("Goes out in {}, with what has changed by then.")
            return format_html(text, ticking((row.goes_out_at - now).total_seconds()))
        if not self.delivery.is_well:
            return _("Waits until delivery goes on.")
        ahead = [each for each in older if not each.is_finished and each.available_at <= now]
        ahead = [each for each in ahead if not each.coalesce_key or each.coalesce_key != event.coalesce_key]
        if ahead:
            return format_html(_("Waits for {}: your events are sent in order."), ahead[-1])
        if event.attempts and event.due_at and event.due_at > now:
            return format_html(_("Next attempt in {}."), ticking((event.due_at - now).total_seconds()))
        return _("About to be sent.")


def ticking(seconds: float) -> SafeString:
    """Return a countdown, marked as such for the script, so that its change isn't announced."""
    minutes, rest = divmod(max(math.ceil(seconds), 0), 60)
    return format_html("<span data-ticks>{}:{}</span>", minutes, f"{rest:02}")


def _folded(events: list[OutboxEvent]) -> list[Row]:
    """Return a row for each event, newest first, with the events that it replaces folded into it."""
    rows: list[Row] = []
    heirs: dict[tuple[str, str | None], Row] = {}
    for event in events:
        key = (event.name if event.object_id is None else "", event.object_id)
        heir = heirs.get(key)
        is_superseded = event.status == Status.CANCELLED and event.reason == Reason.SUPERSEDED
        is_replaced = event.status == Status.PENDING and heir and heir.event.coalesce_key == event.coalesce_key
        if heir and (is_superseded or (is_replaced and event.coalesce_key)):
            heir.fold(event)
        else:
            heirs[key] = Row(event, event.available_at, _answers(event))
            rows.append(heirs[key])
    return rows


def _answers(event: OutboxEvent) -> list[SendAttempt]:
    return event.answers  # type: ignore[attr-defined]  # prefetched
