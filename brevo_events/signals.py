"""
Signals for observers: they steer nothing here, and an observer that fails is logged and harms nothing.

``event_captured``  sender=OutboxEvent, event: in the caller's transaction, right after the INSERT. What uses the
                    database there belongs into ``transaction.on_commit``: an error would break that transaction.
``event_sent``      sender=OutboxEvent, event: after Brevo's answer has been recorded.
``event_failed``    sender=OutboxEvent, event: the same; ``event.reason`` says why.
``event_cancelled`` sender=OutboxEvent, event: the same; where a user ended it, after a worker has freed what waited
                    behind it.
``event_rejected``  sender=the ``track_on`` function, or None for ``track``; error: nothing was kept.
``gate_closed``     sender=Gate, gate: sending is held back; ``gate.reason`` says why.
``gate_opened``     sender=Gate, gate: sending goes on.
"""

from __future__ import annotations

from django.dispatch import Signal

event_captured = Signal()
event_sent = Signal()
event_failed = Signal()
event_cancelled = Signal()
event_rejected = Signal()
gate_closed = Signal()
gate_opened = Signal()
