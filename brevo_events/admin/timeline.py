from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from brevo_events.choices import Reason, Status
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.retry import meaning

LATE = timedelta(seconds=10)
MOST = 50  # requests, the newest ones; resends may have made many


@dataclass(frozen=True, slots=True)
class Moment:
    """Hold one step on the way of an event; ``at`` is None for what has no time yet."""

    at: datetime | None
    title: str
    status: str = ""
    detail: str = ""
    hint: str | Promise = ""


def timeline(event: OutboxEvent, *, shows_contact: bool) -> list[Moment]:
    """Return the way of an event from its capture to its end, or to what comes next."""
    attempts = list(event.send_attempts.order_by("-pk")[: MOST + 1])[::-1]
    moments = [Moment(event.created_at, _("Captured"))]
    if len(attempts) > MOST:
        moments.append(Moment(None, _("Only the newest %d requests are shown.") % MOST))
    moments += [_attempt(attempt, shows_contact) for attempt in attempts[-MOST:]]
    return [*moments, *_rest(event)]


def _attempt(attempt: SendAttempt, shows_contact: bool) -> Moment:
    answer = attempt.response_code or attempt.error
    title = _("Request: %(answer)s after %(duration)d ms") % {"answer": answer, "duration": attempt.duration_ms}
    is_taken = attempt.response_code is not None and 200 <= attempt.response_code < 300
    # Brevo may repeat the address in its message.
    said = [attempt.error if attempt.response_code else "", attempt.message] if shows_contact else []
    return Moment(
        attempt.started_at,
        title,
        Status.SENT if is_taken else Status.FAILED,
        ": ".join(part for part in said if part),
        meaning(attempt.response_code, attempt.error),
    )


def _rest(event: OutboxEvent) -> Iterator[Moment]:
    if event.is_finished:
        status, reason = event.get_status_display(), event.get_reason_display()
        title = _("%(status)s: %(reason)s") % {"status": status, "reason": reason} if reason else str(status)
        yield Moment(event.finished_at, title, event.status)
    elif event.status == Status.SENDING and event.reason == Reason.SUPERSEDED:
        yield Moment(
            None, _("Being sent. If that fails, it is not tried again, since a newer event is there."), event.status
        )
    elif event.status == Status.SENDING:
        yield Moment(None, _("Being sent. If its worker dies, it is due again at the time below."), event.status)
        yield Moment(event.due_at, _("Due again"))
    elif event.parked:
        yield Moment(None, _("Waits for an earlier event of the same contact."), event.status)
    else:
        is_late = event.due_at is not None and event.due_at < timezone.now() - LATE
        yield Moment(event.due_at, _("Due since then") if is_late else _("Next attempt"), event.status)
    if event.expires_at and not event.is_finished:
        yield Moment(event.expires_at, _("Expires"))
