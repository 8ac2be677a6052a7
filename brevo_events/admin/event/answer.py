"""The sentence at the top of an event's page: what happened to the event, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.admin.event.history import History
from brevo_events.admin.event.timeline import OVERDUE_AFTER, attempt_title, phrase
from brevo_events.answers import meaning
from brevo_events.choices import Reason, Status
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.times import ago, between, clock, exactly, length, moment_at

MAX_QUOTED = 200  # characters of Brevo's message

LinkTo = Callable[[OutboxEvent], SafeString]


@dataclass(frozen=True, slots=True)
class Answer:
    """The sentence, as markup, and further facts."""

    sentence: SafeString | str
    note: str | Promise = ""


def answer_of(history: History, link_to: LinkTo, *, shows_contact: bool) -> Answer:
    """Return what happened to an event; ``link_to`` makes the link to another one."""
    event = history.event
    if event.status == Status.SENT:
        return _accepted(history, shows_contact)
    if event.status == Status.FAILED:
        return _failed(history, shows_contact)
    if event.status == Status.CANCELLED:
        return Answer(_cancelled(history, link_to))
    if event.status == Status.SENDING:
        return _sending(event)
    return _waiting(history, link_to)


def state_word(event: OutboxEvent) -> str:
    """Return an event's state in a word or two."""
    if event.status == Status.SENT:
        return _("Accepted")
    if event.status == Status.CANCELLED and event.reason == Reason.SUPERSEDED:
        return _("Not needed")
    return str(event.get_status_display())


def _at(event: OutboxEvent) -> str:
    return moment_at(event.finished_at) if event.finished_at else ""


def _accepted(history: History, shows_contact: bool) -> Answer:
    sentence = format_html(_("Brevo <strong>accepted</strong> this event {when}."), when=_at(history.event))
    note = _("Accepted means: Brevo has the event. Whether a mail follows, its automation decides.")
    failures = history.failures
    if not (failures and history.resent):
        return Answer(sentence, note)
    failed = failures[-1]
    told = {"when": moment_at(failed.at), "why": _words(failed.attempt, shows_contact), "who": history.resent.by}
    before = _("It had failed {when}, {why}; {who} resent it.")
    if not history.resent.by:
        before = _("It had failed {when}, {why}; it was resent by a command.")
    return Answer(format_html("{} {}", sentence, format_html(before, **told)), note)


def _failed(history: History, shows_contact: bool) -> Answer:
    event, last = history.event, history.last
    told = {"when": _at(event), "why": _words(last, shows_contact) if last else ""}
    if event.reason == Reason.GAVE_UP:
        tries = ngettext("after %d attempt", "after %d attempts", event.attempts) % event.attempts
        sentence = _("This event <strong>failed</strong> {when} {tries}; the last answer was {why}.")
        if not last:
            sentence = _("This event <strong>failed</strong> {when} {tries}.")
        text = format_html(sentence, tries=tries, **told)
    elif last:
        text = format_html(_("Brevo <strong>refused</strong> this event {when}: {why}."), **told)
    else:
        text = format_html(_("This event <strong>failed</strong> {when}."), **told)
    if last:
        return Answer(text, meaning(last.response_code, last.error, last.message))
    return Answer(text, meaning(event.response_code) if event.response_code else "")


def _words(attempt: SendAttempt, shows_contact: bool) -> SafeString | str:
    """Return Brevo's own words, or the code if this user may not see them."""
    if shows_contact and attempt.response_code and attempt.message:
        message = attempt.message
        shortened = message if len(message) <= MAX_QUOTED else f"{message[:MAX_QUOTED]} …"
        return format_html("<q><bdi>{}</bdi></q>", shortened)
    return phrase(attempt.response_code, attempt.error)


def _cancelled(history: History, link_to: LinkTo) -> SafeString | str:
    event = history.event
    if event.reason == Reason.SUPERSEDED:
        return _superseded(history, link_to)
    texts = {
        Reason.EXPIRED: _("<strong>Not sent:</strong> it expired {when}, before Brevo had accepted it."),
        Reason.NO_CONSENT: _("<strong>Not sent:</strong> {when} the contact did not consent any more."),
        Reason.APPLICATION: _("<strong>Not sent:</strong> the application cancelled it {when}."),
        Reason.ERASED: _("<strong>Not sent:</strong> the contact was erased {when}."),
    }
    text = _("<strong>Not sent:</strong> an operator cancelled it {when}.")
    if history.operator:
        text = _("<strong>Not sent:</strong> {who} cancelled it {when}.")
    when = _at(event)
    if event.reason == Reason.EXPIRED and event.expires_at:
        when = moment_at(event.expires_at)  # a worker may have noticed much later
    return format_html(texts.get(Reason(event.reason), text) if event.reason else text, when=when, who=history.operator)


def _superseded(history: History, link_to: LinkTo) -> SafeString | str:
    event, newer = history.event, history.successor
    if newer is None:
        return format_html(_("<strong>Not needed:</strong> a newer event replaced it {when}."), when=_at(event))
    text = _("<strong>Not needed:</strong> {event} came {gap} later.")
    if newer.name == event.name:
        text = _("<strong>Merged</strong> into the next change: {event} came {gap} later.")
    return format_html(text, event=link_to(newer), gap=between(event.created_at, newer.created_at))


def _sending(event: OutboxEvent) -> Answer:
    note = _("If that fails, a newer event is sent instead.") if event.reason == Reason.SUPERSEDED else ""
    if not note and event.due_at:
        note = _("If the worker stops, it will be retried at %s.") % clock(event.due_at)
    return Answer(_("This event is being sent."), note)


def _waiting(history: History, link_to: LinkTo) -> Answer:
    event, now = history.event, timezone.now()
    if history.state.is_stopped:
        note = _next_try(history)
        if event.available_at > now:
            note = _("It was captured with a delay, and isn't due before %s.") % exactly(event.available_at)
        return Answer(format_html(_("<strong>Waits.</strong> {why}"), why=history.state.title), note)
    if event.available_at > now:
        return Answer(_goes_out(event.available_at), _("It was captured with a delay."))
    if history.ahead:
        text = _("<strong>Waits</strong> for {event}: the events of a contact are sent in their order.")
        return Answer(format_html(text, event=link_to(history.ahead)))
    if event.parked:
        return Answer(_("Waits for an earlier event of the same contact."))
    if event.due_at and event.due_at > now:
        return _retries(history, event.due_at)
    if event.due_at and now - event.due_at > OVERDUE_AFTER:
        why = "" if history.state.is_well else history.state.title
        return Answer(
            format_html(
                _("<strong>Overdue</strong> since {time}, {ago}."), time=clock(event.due_at), ago=ago(event.due_at)
            ),
            why,
        )
    return Answer(_("This event is about to be sent."))


def _goes_out(at: datetime) -> SafeString:
    return format_html(_("<strong>Goes out</strong> {when}, {wait}."), when=moment_at(at), wait=ago(at))


def _retries(history: History, due_at: datetime) -> Answer:
    if not (last := history.last):
        return Answer(_goes_out(due_at))
    told = {"attempt": attempt_title(history), "when": moment_at(due_at), "wait": ago(due_at)}
    text = format_html(_("<strong>Waits</strong> for a retry: {attempt} {when}, {wait}."), **told)
    return Answer(text, meaning(last.response_code, last.error, last.message))


def _next_try(history: History) -> str:
    gate = history.pulse.gate
    if not gate.is_closed or gate.is_paused:
        return ""
    if gate.is_probe_due:
        return _("The next due event shows whether it is over.")
    return _("Next try of any event in %s.") % length(gate.seconds_until_probe)
