from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from brevo_events.choices import GateReason
from brevo_events.models import Gate
from brevo_events.retry import meaning
from brevo_events.stats import Pulse, take_pulse


@dataclass(frozen=True, slots=True)
class Banner:
    """Hold what somebody should know now and what to do; level is that of a message of the admin."""

    level: str
    title: str
    advice: str


def banner(pulse: Pulse | None = None) -> Banner | None:
    """Return what keeps events from going out, None where they do."""
    pulse = pulse or take_pulse()
    gate = pulse.gate
    if gate.is_paused:
        return Banner("warning", _("Delivery is paused: nothing goes out."), advice(gate))
    if gate.is_closed:
        level = "warning" if gate.reason == GateReason.THROTTLED else "error"
        title = _("Sending is held back: %s.") % gate.get_reason_display()
        return Banner(level, title, advice(gate))
    if not pulse.is_late:
        return None
    title = _("The oldest due event has been waiting for %s.") % span(pulse.oldest_due_seconds)
    if pulse.is_delivering:
        text = _("Events go out, but slower than they come. If this lasts, start one more send_brevo_events --loop.")
        return Banner("warning", title, text)
    text = _("Nobody delivers. Is send_brevo_events --loop running? If the site itself delivers, look into its log.")
    return Banner("error", title, text)


def advice(gate: Gate) -> str:
    """Return what a gate means for the events and what to do about it."""
    if gate.is_paused:
        text = _("Events are kept meanwhile. Resume delivery when they may go out again.")
        besides = _("Besides:")  # the fault is still there when the pause ends
        return f"{text} {besides} {_fault(gate)}" if gate.is_closed else text
    if gate.is_closed:
        return f"{_fault(gate)} {_next_try(gate)}"
    return _("Nothing holds events back: they go out as they fall due.")


def span(seconds: float) -> str:
    """Return a length of time in words, the two largest units of it."""
    now = timezone.now()
    if seconds < 60:
        return _("less than a minute")
    return timesince(now - timedelta(seconds=seconds), now)


def _fault(gate: Gate) -> str:
    if gate.response_code is None:
        return _("No answer came. Check the network and Brevo's status page.")
    return str(meaning(gate.response_code))


def _next_try(gate: Gate) -> str:
    if gate.closed_until is None or gate.is_probe_due:
        return _("The next due event shows whether it is over.")
    return _("One event at %s will show whether it is over; nothing is lost until then.") % date_format(
        timezone.localtime(gate.closed_until), "TIME_FORMAT"
    )
