"""Events of the outbox in templates."""

from __future__ import annotations

from django import template

from brevo_events.admin.event.answer import state_word

register = template.Library()

# The panel and the admin call the state of an event by the same name.
register.filter(state_word)
