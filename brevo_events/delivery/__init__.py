"""Claim what is due, send it, record the answers: the only part that moves an event to its end."""

from __future__ import annotations

from brevo_events.delivery.claims import claim, seconds_until_due
from brevo_events.delivery.pipeline import Delivered, Pipeline, deliver
from brevo_events.delivery.records import record

__all__ = ["Delivered", "Pipeline", "claim", "deliver", "record", "seconds_until_due"]
