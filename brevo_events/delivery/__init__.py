"""Claims due events, sends them and records the answers: the only package that moves an event to its end."""

from __future__ import annotations

from brevo_events.delivery.claims import claim, seconds_until_due
from brevo_events.delivery.pipeline import Delivered, Pipeline, deliver
from brevo_events.delivery.records import record

__all__ = ["Delivered", "Pipeline", "claim", "deliver", "record", "seconds_until_due"]
