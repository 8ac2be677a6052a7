"""Every step of an event, from its capture to its end or its next step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.admin.event.history import Failure, History
from brevo_events.admin.log import Entry
from brevo_events.answers import is_accepted, meaning
from brevo_events.choices import Reason, Status
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.times import ago, between, clock, day, exactly

OVERDUE_AFTER = timedelta(seconds=10)
FOLDED_FROM = 4  # equal answers in a row

OPERATOR = "operator"  # the kind of a step made by a person, in addition to the statuses


@dataclass(frozen=True, slots=True)
class Step:
    """
    One line of the timeline; ``kind`` is the end of its class.

    ``at`` is None if it has no time yet. ``link`` is an event shown after
    ``title``. ``folded`` are the times of the equal steps that this one
    represents.
    """

    title: str
    at: datetime | None = None
    kind: str = ""
    note: str = ""
    link: OutboxEvent | None = None
    detail: str = ""
    hint: str | Promise = ""
    folded: tuple[str, ...] = ()
    # As shown: the day only if it differs from that of the previous step.
    day: str = ""
    clock: str = ""
    gap: str = ""


def timeline(history: History, *, shows_contact: bool) -> list[Step]:
    """Return the steps of an event."""
    event = history.event
    dated = [Step(_("Captured"), event.created_at, "captured")]
    dated += _folded(history, [_request(history, attempt, shows_contact) for attempt in history.attempts])
    dated += [_failed(failure) for failure in history.failures]
    dated += [_operated(entry) for entry in history.entries]
    dated += _end(history)
    dated.sort(key=lambda step: step.at or event.created_at)
    if history.is_cut:
        dated.insert(1, Step(_("Only the newest %d requests are shown.") % len(history.attempts)))
    return _timed([*dated, *_what_is_next(history)])


def phrase(code: int | None, error: str = "") -> str:
    """Return an answer in short, such as 400 Bad Request or 204 Accepted, or that there was none."""
    if code is None:
        return _("No answer (%s)") % error if error else _("No answer")
    if is_accepted(code):
        return _("%d Accepted") % code
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _request(history: History, attempt: SendAttempt, shows_contact: bool) -> Step:
    note = _("after %d ms") % attempt.duration_ms
    # Attempts that failed because of the state of delivery aren't counted, so the individual numbers are unknown.
    if attempt in history.current and len(history.current) == history.event.attempts and history.max_attempts:
        told = {"number": history.current.index(attempt) + 1, "most": history.max_attempts}
        numbered = _("attempt %(number)d of %(most)d") % told
        note = f"{note} · {numbered}"
    return Step(
        phrase(attempt.response_code, attempt.error),
        attempt.started_at,
        Status.SENT if is_accepted(attempt.response_code) else Status.FAILED,
        note,
        detail=_message(attempt, shows_contact),
        hint="" if is_accepted(attempt.response_code) else _meaning(attempt),
    )


def _meaning(attempt: SendAttempt) -> str | Promise:
    return meaning(attempt.response_code, attempt.error, attempt.message)


def _message(attempt: SendAttempt, shows_contact: bool) -> str:
    # Brevo may repeat the address in its message.
    if not shows_contact:
        return ""
    parts = [attempt.error if attempt.response_code else "", attempt.message]
    return ": ".join(part for part in parts if part)


def _folded(history: History, steps: list[Step]) -> Iterator[Step]:
    """Fold the middle of many equal answers in a row into one step, unless someone resent the event in between."""
    resends = [entry.at for entry in history.entries if entry.action == "resend"]
    for _alike, group in groupby(
        steps, lambda step: (step.title, step.detail, sum(step.at is not None and at <= step.at for at in resends))
    ):
        equal = list(group)
        if len(equal) < FOLDED_FROM:
            yield from equal
            continue
        first, *middle, last = equal
        yield first
        yield _fold(middle)
        # Its meaning has already been shown.
        yield replace(last, hint="")


def _fold(steps: list[Step]) -> Step:
    moments = [step.at for step in steps if step.at]
    name = clock if day(moments[0]) == day(moments[-1]) else exactly
    told = {"count": len(steps), "first": name(moments[0]), "last": name(moments[-1])}
    title = ngettext(
        "%(count)d more like this, %(first)s–%(last)s", "%(count)d more like this, %(first)s–%(last)s", len(steps)
    )
    return Step(title % told, moments[0], "folded", folded=tuple(f"{day(at)}, {clock(at)}" for at in moments))


def _failed(failure: Failure) -> Step:
    if failure.verdict.reason == Reason.REJECTED:
        return Step(_("Failed"), failure.at, Status.FAILED, _("Brevo refused the event"))
    return Step(_("Failed"), failure.at, Status.FAILED, _("too many attempts"))


def _operated(entry: Entry) -> Step:
    told = {"who": entry.by}
    titles = {
        "resend": _("Resent by %(who)s") % told if entry.by else _("Resent by a command"),
        "cancel": _("Cancelled by %(who)s") % told,
        "erase": _("Content erased by %(who)s") % told,
    }
    others = ngettext("with %d other", "with %d others", entry.others) % entry.others if entry.others else ""
    title = titles.get(entry.action) or _("%(text)s by %(who)s") % {**told, "text": entry.text.rstrip(".")}
    return Step(title, entry.at, OPERATOR, others)


def _end(history: History) -> Iterator[Step]:
    event = history.event
    if not event.is_finished or event.finished_at is None:
        return
    if event.status == Status.SENT:
        # The answer itself already says so.
        if history.last is None or not is_accepted(history.last.response_code):
            yield Step(_("Accepted"), event.finished_at, Status.SENT)
    elif event.status == Status.FAILED:
        note = _("too many attempts; the next event of the contact went on")
        if event.reason == Reason.REJECTED:
            note = _("Brevo refused the event; the next event of the contact went on")
        yield Step(_("Failed"), event.finished_at, Status.FAILED, note if event.reason else "")
    elif not (event.reason in (Reason.OPERATOR, Reason.ERASED) and history.operator):
        yield _cancelled(history, event.finished_at)


def _cancelled(history: History, at: datetime) -> Step:
    if history.event.reason == Reason.SUPERSEDED:
        if history.successor is None:
            return Step(_("Not needed: a newer event replaced it"), at, Status.CANCELLED)
        return Step(_("Not needed: superseded by"), at, Status.CANCELLED, link=history.successor)
    return Step(str(history.event.get_reason_display() or _("Cancelled")), at, Status.CANCELLED)


def _what_is_next(history: History) -> Iterator[Step]:
    event = history.event
    if event.is_finished:
        return
    if event.status == Status.SENDING:
        yield _in_flight(event)
    elif history.ahead:
        note = _("an earlier event of the same contact")
        if history.ahead.pk > event.pk:
            note = _("an event of the same contact that is being sent")
        yield Step(_("Waits for"), None, Status.PENDING, note, link=history.ahead)
    elif event.parked:
        yield Step(_("Waits for an earlier event of the same contact"), None, Status.PENDING)
    elif event.due_at is not None:
        yield _next_attempt(history, event.due_at)
    if event.expires_at:
        yield Step(_("Expires"), event.expires_at, note=ago(event.expires_at))


def _in_flight(event: OutboxEvent) -> Step:
    if event.reason == Reason.SUPERSEDED:
        return Step(_("Being sent"), None, Status.SENDING, _("if that fails, a newer event is sent instead"))
    retried = _("if the worker stops, it will be retried at %s") % clock(event.due_at) if event.due_at else ""
    return Step(_("Being sent"), None, Status.SENDING, retried)


def _next_attempt(history: History, due_at: datetime) -> Step:
    now, title, state = timezone.now(), attempt_title(history), history.state
    if state.is_stopped and (due_at <= now or state.until is None or due_at < state.until):
        # Delivery resumes later than that, or at an unknown time.
        return Step(_("Waits"), None, Status.PENDING, hint=state.title)
    if now < due_at:
        return Step(title, due_at, Status.PENDING, ago(due_at), hint=state.title if state.is_stopped else "")
    if now - due_at > OVERDUE_AFTER:
        return Step(_("Overdue since"), due_at, Status.PENDING, ago(due_at))
    return Step(title, None, Status.PENDING, _("now"))


def attempt_title(history: History) -> str:
    """Return the name of the next attempt."""
    if not history.event.attempts or not history.max_attempts:
        return _("Next attempt")
    return _("Attempt %(number)d of %(most)d") % {
        "number": history.event.attempts + 1,
        "most": history.max_attempts,
    }


def _timed(steps: Iterable[Step]) -> list[Step]:
    """Format the times of steps, with the time since the previous step."""
    shown: list[Step] = []
    before: datetime | None = None
    for step in steps:
        if step.at is None or step.kind == "folded":
            shown.append(step)
            continue
        is_new_day = before is None or timezone.localtime(before).date() != timezone.localtime(step.at).date()
        gap = ago(step.at) if before is None else f"+{between(before, step.at)}" if step.at <= timezone.now() else ""
        shown.append(replace(step, day=day(step.at) if is_new_day else "", clock=clock(step.at), gap=gap))
        before = step.at
    return shown
