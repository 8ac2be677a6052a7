"""The contents of a list row: what happened to the event, its contact and object, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Min
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.admin.event.answer import state_word
from brevo_events.admin.event.history import max_attempts
from brevo_events.admin.event.relations import successor_among
from brevo_events.admin.permissions import contact_of, object_of
from brevo_events.answers import brevo_error, meaning
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.times import ago, clock, day, exactly, rough_length

MAX_DETAIL = 160  # characters
MAX_LATER = 1000  # events that are searched for the ones that replaced others
RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Context:
    """What a page's rows need besides their events: last attempts, and the events waited for or superseding."""

    now: datetime
    shows_contact: bool
    attempts: dict[int, SendAttempt]
    others: dict[int, OutboxEvent]
    most_attempts: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in words, its time of day, and in full; ``iso`` is for machines."""

    words: str
    clock: str
    exact: str
    iso: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row; ``relation`` is its relation to the ``other`` one."""

    event: OutboxEvent
    word: str
    detail: str
    relation: str
    other: OutboxEvent | None
    contact: str
    object: str
    at: Moment


def rows_of(
    events: Sequence[OutboxEvent], visible: OutboxEventQuerySet, now: datetime, *, shows_contact: bool, shows_end: bool
) -> list[Row]:
    """Return the rows of some events, among all that the user may see; perhaps with the end as their time."""
    context = Context(
        now=now,
        shows_contact=shows_contact,
        attempts=last_attempts(events),
        others=_ahead(events, visible) | _successors(events, visible),
        most_attempts=max_attempts(),
    )
    return [_row(event, context, "finished_at" if shows_end else "created_at") for event in events]


def last_attempts(events: Sequence[OutboxEvent]) -> dict[int, SendAttempt]:
    """Return the last attempt of each event that has one."""
    tried = [event.pk for event in events if event.attempts or event.response_code]
    attempts = SendAttempt.objects.filter(event__in=tried).order_by()
    last = attempts.values("event").annotate(last=Max("pk")).values_list("last", flat=True)
    return {attempt.event_id: attempt for attempt in SendAttempt.objects.filter(pk__in=list(last))}


def answer_of(event: OutboxEvent, attempt: SendAttempt | None, *, shows_contact: bool) -> str:
    """Return Brevo's last message; our own words for users who may not see addresses, which it may contain."""
    if attempt is None:
        return ""
    if not shows_contact:
        return str(meaning(attempt.response_code, "" if attempt.response_code else attempt.error))
    message = brevo_error(attempt.answer)[1] or attempt.error
    return " ".join(message.split())[:MAX_DETAIL]


def _row(event: OutboxEvent, context: Context, column: str) -> Row:
    at = getattr(event, column) or event.created_at
    return Row(
        event=event,
        word=state_word(event),
        detail=_DESCRIBED[event.status](event, context),
        relation=_("behind") if event.parked else _("replaced by"),
        other=context.others.get(event.pk),
        contact=contact_of(event, shows_contact=context.shows_contact),
        object=object_of(event, shows_contact=context.shows_contact),
        at=_moment(at, context.now),
    )


def _moment(at: datetime, now: datetime) -> Moment:
    local = timezone.localtime(at)
    words = ago(at) if abs(now - at) < RECENT else _date(local, now)
    return Moment(words, clock(at), f"{day(at)}, {clock(at)}", local.isoformat())


def _date(local: datetime, now: datetime) -> str:
    is_this_year = local.year == timezone.localtime(now).year
    return date_format(local, "MONTH_DAY_FORMAT" if is_this_year else "DATE_FORMAT")


def _pending(event: OutboxEvent, context: Context) -> str:
    if event.parked:
        return "" if event.pk in context.others else _("behind an earlier event")
    seconds = (event.due_at - context.now).total_seconds() if event.due_at else 0
    if event.attempts:
        when = _("retry in %s") % rough_length(seconds) if seconds >= 1 else _("retry is due")
        return _joined(when, _words(event, context), _place(event, context))
    return _("to be sent in %s") % rough_length(seconds) if seconds >= 1 else _("due since %s") % rough_length(-seconds)


def _sending(event: OutboxEvent, context: Context) -> str:
    return _place(event, context)


def _sent(event: OutboxEvent, context: Context) -> str:
    attempt = context.attempts.get(event.pk)
    answer = _answered(attempt) if attempt else ""
    tries = ngettext("%d attempt", "%d attempts", event.attempts) % event.attempts if event.attempts > 1 else ""
    return _joined(answer, tries)


def _answered(attempt: SendAttempt) -> str:
    return _("%(code)d in %(time)d ms") % {"code": attempt.response_code or 0, "time": attempt.duration_ms}


def _failed(event: OutboxEvent, context: Context) -> str:
    tries = ngettext("%d attempt", "%d attempts", event.attempts) % event.attempts
    gave_up = tries if event.reason == Reason.GAVE_UP else ""
    return _joined(_words(event, context) or event.get_reason_display(), gave_up)


def _cancelled(event: OutboxEvent, context: Context) -> str:
    if event.reason == Reason.SUPERSEDED:
        return "" if event.pk in context.others else _("a newer event replaced it")
    if event.reason == Reason.EXPIRED and event.expires_at:
        return _("expired: was to be sent by %s") % exactly(event.expires_at)
    return _cancelled_by(event)


def _cancelled_by(event: OutboxEvent) -> str:
    return {
        Reason.OPERATOR: _("by an operator"),
        Reason.APPLICATION: _("by the application"),
        Reason.ERASED: _("its contact was erased"),
        Reason.EXPIRED: _("expired"),
    }.get(Reason(event.reason) if event.reason else Reason.REJECTED, event.get_reason_display())


def _words(event: OutboxEvent, context: Context) -> str:
    words = answer_of(event, context.attempts.get(event.pk), shows_contact=context.shows_contact)
    return f"{event.response_code or ''} {words}".strip()


def _place(event: OutboxEvent, context: Context) -> str:
    if not event.attempts:
        return ""
    if context.most_attempts is None:
        return ngettext("%d attempt", "%d attempts", event.attempts) % event.attempts
    return _("attempt %(number)d of %(most)d") % {"number": event.attempts, "most": context.most_attempts}


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _ahead(events: Sequence[OutboxEvent], visible: OutboxEventQuerySet) -> dict[int, OutboxEvent]:
    """Return, for each event that waits in a line, the event that is first in it."""
    parked = {event.pk: event.contact for event in events if event.parked}
    if not parked:
        return {}
    waiting = visible.filter(contact__in=set(parked.values()), status__in=UNFINISHED).order_by()
    firsts = dict(waiting.values("contact").annotate(first=Min("pk")).values_list("contact", "first"))
    found = visible.only("name").in_bulk(set(firsts.values()))
    ahead = {pk: found.get(firsts.get(contact, 0)) for pk, contact in parked.items()}
    return {pk: other for pk, other in ahead.items() if other and other.pk < pk}


def _successors(events: Sequence[OutboxEvent], visible: OutboxEventQuerySet) -> dict[int, OutboxEvent]:
    """Return, for each superseded event with an object, the event that replaced it."""
    replaced = [
        event for event in events if event.reason == Reason.SUPERSEDED and event.is_finished and event.object_id
    ]
    if not replaced:
        return {}
    alike = visible.filter(
        contact__in={event.contact for event in replaced},
        object_id__in={event.object_id for event in replaced},
        pk__gt=min(event.pk for event in replaced),
    )
    candidates = list(alike.defer("body").order_by("pk")[:MAX_LATER])
    found = {}
    for event in replaced:
        newer = [other for other in candidates if other.pk > event.pk and _alike(other, event)]
        if successor := successor_among(event, newer):
            found[event.pk] = successor
    return found


def _alike(one: OutboxEvent, other: OutboxEvent) -> bool:
    return (one.contact, one.object_id) == (other.contact, other.object_id)


_DESCRIBED: dict[str, Callable[[OutboxEvent, Context], str]] = {
    Status.PENDING: _pending,
    Status.SENDING: _sending,
    Status.SENT: _sent,
    Status.FAILED: _failed,
    Status.CANCELLED: _cancelled,
}
