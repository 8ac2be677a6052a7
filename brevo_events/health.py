"""The state of delivery, shared by the admin and the status command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from brevo_events import transports
from brevo_events.answers import meaning
from brevo_events.choices import UNFINISHED, GateReason, Status
from brevo_events.conf import ENGINES, settings
from brevo_events.exceptions import InvalidSetting
from brevo_events.heartbeats import last_seen_at
from brevo_events.journal import Interruption
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.times import ago, exactly, in_words, rough_length

COUNT_LIMIT = 10_000
OVERDUE_AFTER = 120  # seconds that an event may be due
# https://developers.brevo.com/docs/getting-started-with-rest-implementation
WHERE_KEY_IS = gettext_lazy(
    "It is in Brevo's menu Automation, in the JavaScript tracker: the client_key, 24 letters and digits."
)

PAUSED, MISCONFIGURED, STALLED, ON_HOLD, BEHIND, SENDING = (
    "paused",  # by an operator
    "misconfigured",  # a setting is missing or wrong
    "stalled",  # events are due, but nothing is sending them
    "on_hold",  # a fault has closed the gate
    "behind",  # events arrive faster than they are sent
    "sending",
)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Four facts about the present; ``worker_seen_at`` is when any delivering process last reported."""

    gate: Gate
    oldest_due_seconds: float
    last_request_at: datetime | None = None
    worker_seen_at: datetime | None = None

    @property
    def is_delivering(self) -> bool:
        """Whether a request was made in the last two minutes."""
        return self.last_request_at is not None and timezone.now() - self.last_request_at < timedelta(
            seconds=OVERDUE_AFTER
        )

    @property
    def is_late(self) -> bool:
        """Whether an event has been due for so long that someone should check."""
        return self.oldest_due_seconds > OVERDUE_AFTER


@dataclass(frozen=True, slots=True)
class State:
    """
    What delivery is doing now, and what to do about it; ``level`` is the level of an admin message.

    ``facts`` are sentences. ``since`` and ``until`` belong to a hold or a
    pause: ``until`` is the next try, or when the pause ends by itself.
    ``reason`` is a ``GateReason``, or what an operator wrote; ``by`` is the
    operator's name, empty for a command; ``event`` is the ID of the event whose
    answer caused a hold. ``overdue_seconds`` is how long the oldest event has
    been due, and ``worker_seen_at`` when a worker last reported, if nothing is
    sending. ``also`` is the fault that remains when a pause ends. ``buttons``
    names what an operator can do: ``try_now``, ``pause``, ``resume``.
    """

    name: str
    level: str
    title: str
    advice: str = ""
    facts: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    by: str = ""
    event: int | None = None
    overdue_seconds: float | None = None
    worker_seen_at: datetime | None = None
    also: State | None = None
    buttons: tuple[str, ...] = ("pause",)

    @property
    def is_well(self) -> bool:
        """Whether events are sent as they become due."""
        return self.name == SENDING

    @property
    def is_faulty(self) -> bool:
        """Whether a fault keeps events from being sent; a pause isn't a fault."""
        return self.name in (MISCONFIGURED, STALLED, ON_HOLD)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is sent at the moment, because of a fault or a pause."""
        return self.is_faulty or self.name == PAUSED

    @property
    def explanation(self) -> str:
        """The text after the title: what to do, the facts, and a fault in addition to a pause."""
        also = [_("Also:"), self.also.title, self.also.explanation] if self.also else []
        return " ".join(part for part in (self.advice, *self.facts, *also) if part)


@dataclass(frozen=True, slots=True)
class Summary:
    """
    The pulse, and counts of the outbox.

    Each count goes up to 10,000. An event that waits for a retry, or behind
    another one of its contact, is pending but not due.
    """

    pulse: Pulse
    pending: int
    sending: int
    failed: int
    last_sent_at: datetime | None


def take_pulse() -> Pulse:
    """Return the current pulse, with four small queries."""
    return Pulse(
        gate=Gate.load(),
        # An event that a user has ended is due until a worker has settled it.
        oldest_due_seconds=max(0.0, -(OutboxEvent.objects.unfinished().seconds_until_first_due() or 0.0)),
        last_request_at=SendAttempt.objects.order_by("-pk").values_list("started_at", flat=True).first(),
        worker_seen_at=last_seen_at(),
    )


def summarise() -> Summary:
    """Return counts and pulse, with a few indexed queries whose cost doesn't grow with the outbox."""
    # An event that is being sent is due when its lease ends, which is later than most.
    waiting = OutboxEvent.objects.due_sometime().unfinished().order_by("-due_at")[:COUNT_LIMIT]
    counts = {status: Count("pk", filter=Q(status=status)) for status in UNFINISHED}
    return Summary(
        pulse=take_pulse(),
        **waiting.aggregate(**counts),
        failed=OutboxEvent.objects.filter(status=Status.FAILED).order_by()[:COUNT_LIMIT].count(),
        last_sent_at=last_sent_at(),
    )


def last_sent_at() -> datetime | None:
    """Return when Brevo last accepted an event."""
    sent = OutboxEvent.objects.filter(status=Status.SENT, finished_at__isnull=False)
    return sent.order_by("-finished_at").values_list("finished_at", flat=True).first()


def state(pulse: Pulse) -> State:
    """Return what delivery is doing. Every page and command uses this, so that no two can disagree."""
    fault = _misconfigured(pulse) or stalled(pulse) or on_hold(pulse.gate)
    if pulse.gate.is_paused:
        return _paused(pulse.gate, fault)
    if fault:
        return replace(fault, buttons=("try_now", "pause")) if pulse.gate.is_closed else fault
    return behind(pulse) or State(SENDING, "success", _("Events are sent as they become due."))


def setting_fault() -> str:
    """Return which setting keeps events from being sent, or an empty string; a callable key isn't called."""
    try:
        transports.transport_class()
        settings.class_named("ENGINE", ENGINES, object)
        settings.consent()
        for key in ("URL", "TIMEOUT", "CONCURRENCY", "MAX_ATTEMPTS", "RETRY_BACKOFF", "OVERRIDE_EMAIL"):
            getattr(settings, key)
        if settings.TRANSPORT == "http" and not settings.has_callable_key() and not settings.ma_key():
            return "BREVO_EVENTS['MA_KEY'] is not set."
    except InvalidSetting as error:
        return str(error)
    return ""


def outcome(interruption: Interruption) -> str:
    """Return what became of the events that waited during an interruption; empty until that is known."""
    if interruption.waited is None:
        return ""
    parts = [
        (interruption.waited, _("%d waited")),
        (interruption.sent, _("%d sent")),
        (interruption.superseded, _("%d superseded")),
        (interruption.cancelled, _("%d cancelled")),
        (interruption.failed, _("%d failed")),
        (interruption.left, _("%d still waiting")),
    ]
    told = [text % number for number, text in parts[:2]] + [text % number for number, text in parts[2:] if number]
    if interruption.lost is not None:
        told.append(_("%d lost") % interruption.lost)
    return ", ".join(told)


def _misconfigured(pulse: Pulse) -> State | None:
    if not (fault := setting_fault()):
        return None
    # With a worker, perhaps only its process has the key: as long as it makes requests, all is well.
    if not sends_here() and (pulse.is_delivering or not pulse.oldest_due_seconds):
        return None
    what_to_do = WHERE_KEY_IS if "MA_KEY" in fault else _("Correct it: manage.py check says how.")
    advice = _("Events are kept, and are sent once it is right.")
    return State(MISCONFIGURED, "error", _("Nothing can be sent: %s") % fault, f"{advice} {what_to_do}")


def engine() -> str:
    """Return the setting ``ENGINE``, or its default if it is wrong, which ``setting_fault()`` reports."""
    try:
        return settings.ENGINE
    except InvalidSetting:
        return "thread"


def sends_here() -> bool:
    """Return whether the site's own processes send events."""
    return engine() in ("thread", "inline")


def stalled(pulse: Pulse) -> State | None:
    """Return a state if events are due but nothing is sending them."""
    if not pulse.is_late or pulse.is_delivering:
        return None
    if pulse.gate.closed_until and timezone.now() < pulse.gate.closed_until + timedelta(seconds=OVERDUE_AFTER):
        return None  # the gate explains it, unless a probe is overdue as well
    title = _("Nothing is sending. The oldest event has been due for %s.")
    advice = _("Start send_brevo_events --loop, or check the site's log if the site itself delivers.")
    if engine() in ("celery", "tasks"):
        advice = _("Check that your task queue's worker and scheduler are running.")
    return State(
        STALLED,
        "error",
        title % in_words(pulse.oldest_due_seconds),
        advice,
        (_worker_seen(pulse.worker_seen_at),),
        overdue_seconds=pulse.oldest_due_seconds,
        worker_seen_at=pulse.worker_seen_at,
    )


def _worker_seen(seen_at: datetime | None) -> str:
    if seen_at is None:
        return _("No worker is running.")
    return _("A worker last reported at %(time)s, %(ago)s.") % {"time": exactly(seen_at), "ago": ago(seen_at)}


def behind(pulse: Pulse) -> State | None:
    """Return a state if events arrive faster than they are sent."""
    if not pulse.is_late:
        return None
    title = _("Events arrive faster than they are sent. The oldest has been due for %s.")
    advice = _("If this lasts, start another send_brevo_events --loop.")
    return State(BEHIND, "warning", title % in_words(pulse.oldest_due_seconds), advice)


def on_hold(gate: Gate) -> State | None:
    """Return a state if a fault has closed the gate."""
    if not gate.is_closed:
        return None
    if gate.response_code is None:
        advice = _("No answer came. Check the network and Brevo's status page.")
    else:
        advice = str(meaning(gate.response_code))
    # A pause holds back probes too.
    facts = [_since(gate.closed_at), "" if gate.is_paused else _next_try(gate)]
    if gate.closed_by is not None:
        facts.append(_("Event #%d caused it.") % gate.closed_by)
    return State(
        ON_HOLD,
        "warning" if gate.reason == GateReason.THROTTLED else "error",
        _("Delivery is on hold: %s.") % gate.cause,
        advice,
        tuple(filter(None, facts)),
        since=gate.closed_at,
        until=gate.closed_until,
        reason=gate.reason,
        event=gate.closed_by,
    )


def _next_try(gate: Gate) -> str:
    if gate.is_probe_due:
        return _("The next due event shows whether it is over.")
    wait = rough_length(gate.seconds_until_probe)
    if gate.reason == GateReason.ACCOUNT:
        return _("The next try is in %s, with one event. Nothing is lost until then.") % wait
    return _("The next try is in %s, with a few events. Nothing is lost until then.") % wait


def _paused(gate: Gate, fault: State | None) -> State:
    by = gate.paused_by or _("a command")
    title = _("Delivery is paused by %s.") % by
    if gate.pause_reason:
        title = _("Delivery is paused by %(who)s: “%(why)s”.") % {"who": by, "why": gate.pause_reason}
    left, end = gate.seconds_until_resumed, _("Events wait until you resume.")
    if left is not None and gate.paused_until is not None:
        told = {"time": exactly(gate.paused_until), "wait": rough_length(left)}
        end = _("Events wait until you resume, or until %(time)s (in %(wait)s).") % told
    return State(
        PAUSED,
        "warning",
        title,
        end,
        tuple(filter(None, [_since(gate.paused_at)])),
        since=gate.paused_at,
        until=gate.paused_until,
        reason=gate.pause_reason,
        by=gate.paused_by,
        also=fault,
        buttons=("resume",),
    )


def _since(moment: datetime | None) -> str:
    if moment is None:
        return ""
    wait = rough_length((timezone.now() - moment).total_seconds())
    return _("Since %(time)s (%(wait)s).") % {"time": exactly(moment), "wait": wait}
