"""
Signals for observers: they can't change what happens here. If a receiver raises, that is logged and otherwise ignored.

``event_captured``  sender=OutboxEvent, event: in the caller's transaction, right after the INSERT. A receiver that
                    uses the database should do so in ``transaction.on_commit``: an error would break the
                    caller's transaction.
``event_sent``      sender=OutboxEvent, event: after Brevo's answer has been recorded.
``event_failed``    sender=OutboxEvent, event: after the failure has been recorded; ``event.reason`` says why.
``event_cancelled`` sender=OutboxEvent, event: after the event has ended; if a user cancelled it, after a worker has
                    released the events behind it.
``event_rejected``  sender=the ``track_on`` function, or None for ``track``; error: nothing was captured.
``gate_closed``     sender=Gate, gate: delivery was put on hold; ``gate.reason`` says why.
``gate_opened``     sender=Gate, gate: delivery goes on.
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
