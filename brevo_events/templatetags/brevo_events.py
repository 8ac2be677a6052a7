from __future__ import annotations

from django import template

from brevo_events.health import State, state, take_pulse

register = template.Library()


@register.simple_tag
def brevo_events_state() -> State:
    """Return the state of delivery, for admin pages outside this app."""
    return state(take_pulse())
