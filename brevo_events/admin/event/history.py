"""Everything known about one event, read once for its sentence, its timeline and its facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from brevo_events.admin import log
from brevo_events.admin.event.relations import ahead_of, successor_of
from brevo_events.answers import Answer, is_accepted
from brevo_events.choices import Status
from brevo_events.conf import settings
from brevo_events.exceptions import InvalidSetting
from brevo_events.health import Pulse, State, state, take_pulse
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.retry import Verdict, decide

MAX_REQUESTS = 50  # only the newest; resends may have made many
SAME_RESEND = timedelta(minutes=1)  # between the entry in the admin's log and the time in the row


class Failure(NamedTuple):
    """A failure that was final until someone resent the event."""

    at: datetime
    verdict: Verdict
    attempt: SendAttempt


@dataclass(frozen=True, slots=True)
class History:
    """
    What has happened to an event, and what it is waiting for.

    ``attempts`` are the newest 50, oldest first; ``is_cut`` says that there are
    more. ``entries`` are the actions of operators, and a resend by a command.
    ``current`` are the attempts since the last resend.
    """

    event: OutboxEvent
    attempts: list[SendAttempt]
    is_cut: bool
    entries: list[log.Entry]
    successor: OutboxEvent | None
    ahead: OutboxEvent | None
    pulse: Pulse
    state: State
    max_attempts: int | None
    failures: list[Failure] = field(default_factory=list)
    current: list[SendAttempt] = field(default_factory=list)

    @property
    def resent(self) -> log.Entry | None:
        """The last resend."""
        return next((entry for entry in reversed(self.entries) if entry.action == "resend"), None)

    @property
    def last(self) -> SendAttempt | None:
        """The last request since the last resend."""
        return self.current[-1] if self.current else None

    @property
    def operator(self) -> str:
        """The operator who cancelled or erased the event, if that was an operator's last action."""
        last = self.entries[-1] if self.entries else None
        return last.by if last and last.action in ("cancel", "erase") else ""


def history_of(event: OutboxEvent, events: OutboxEventQuerySet) -> History:
    """Read the history of an event; ``events`` are those that the user may see."""
    newest: QuerySet[SendAttempt] = SendAttempt.objects.filter(event=event).order_by("-pk")
    attempts = list(newest[: MAX_REQUESTS + 1])[::-1]
    entries = _with_other_resend(event, attempts, log.entries_of(event))
    resends = [entry.at for entry in entries if entry.action == "resend"]
    limit, pulse, generations = max_attempts(), take_pulse(), _generations(attempts, resends)
    return History(
        event=event,
        attempts=attempts[-MAX_REQUESTS:],
        is_cut=len(attempts) > MAX_REQUESTS,
        entries=entries,
        successor=successor_of(event, events),
        ahead=ahead_of(event, events),
        pulse=pulse,
        state=state(pulse),
        max_attempts=limit,
        failures=[failure for each in generations[:-1] if (failure := _final(each, limit))],
        current=generations[-1],
    )


def ended_at(attempt: SendAttempt) -> datetime:
    """Return when the answer came."""
    return attempt.started_at + timedelta(milliseconds=attempt.duration_ms)


def _with_other_resend(event: OutboxEvent, attempts: list[SendAttempt], entries: list[log.Entry]) -> list[log.Entry]:
    """Add a resend that only the row shows, because nothing is sent before an event is available."""
    margin, at = timedelta(seconds=1), event.available_at
    if at > timezone.now() or not any(attempt.started_at + margin < at for attempt in attempts):
        return entries
    for entry in entries:
        if entry.action == "resend" and abs(entry.at - at) < SAME_RESEND:
            return entries
    return sorted([*entries, log.Entry(at, "", "", "resend")], key=lambda entry: entry.at)


def _generations(attempts: list[SendAttempt], resends: list[datetime]) -> list[list[SendAttempt]]:
    """Return the attempts before the first resend, between resends, and after the last one."""
    bounds: list[datetime | None] = [None, *resends, None]
    return [
        [
            attempt
            for attempt in attempts
            if (begin is None or attempt.started_at >= begin) and (end is None or attempt.started_at < end)
        ]
        for begin, end in pairwise(bounds)
    ]


def _final(attempts: list[SendAttempt], max_attempts: int | None) -> Failure | None:
    """Return how the last of these attempts ended the event, or None if the event didn't fail because of it."""
    if not attempts or max_attempts is None or is_accepted(attempts[-1].response_code):
        return None
    *before, last = attempts
    verdict = decide(
        Answer(last.response_code, last.answer, error=last.error),
        attempts=len(before),
        max_attempts=max_attempts,
        first_backoff=1,
        last_code=before[-1].response_code if before else None,
    )
    return Failure(ended_at(last), verdict, last) if verdict.status == Status.FAILED else None


def max_attempts() -> int | None:
    """Return how often an event is tried, or None if the setting is invalid."""
    try:
        return int(settings.MAX_ATTEMPTS)
    except InvalidSetting:
        return None
