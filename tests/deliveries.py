"""What a worker does, step by step: claim, answer, record."""

from __future__ import annotations

from django.db import OperationalError

from brevo_events import delivery
from brevo_events.answers import Answer
from brevo_events.clock import boottime
from brevo_events.delivery.attempts import Attempt
from brevo_events.models import Gate

_attempts = {}


def claim(limit, **options):
    """Lease events as a worker does, and return them."""
    attempts = delivery.claim(limit, **options).attempts
    _attempts.update({attempt.event.lease_token + str(attempt.event.pk): attempt for attempt in attempts})
    return [attempt.event for attempt in attempts]


def unanswered(event, gate=None):
    """Return the attempt for an event that was claimed here, without an answer."""
    attempt = _attempts.get(f"{event.lease_token}{event.pk}")
    if attempt is None:
        attempt = Attempt(event, Gate.load(), boottime() + 60)
    if gate:
        attempt.gate = gate
    return attempt


def answered(event, status=204, gate=None, **more):
    """Return the attempt for an event that was claimed here, as if Brevo had answered."""
    attempt = unanswered(event, gate)
    attempt.answer = Answer(status, **more)
    return attempt


def record(attempts):
    """Record answers as a worker does, and return the attempts that are left."""
    return delivery.record(attempts).left


def open_gate():
    """Let delivery go on, as an accepted probe does."""
    Gate.load().open()


def fail_at_first(monkeypatch, step, times):
    """Let the database be away for the first calls of a step of the pipeline."""
    monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
    left, real = iter(range(times)), getattr(delivery, step)

    def sometimes(*arguments, **options):
        if next(left, None) is not None:
            raise OperationalError("gone")
        return real(*arguments, **options)

    monkeypatch.setattr(f"brevo_events.delivery.pipeline.{step}", sometimes)
