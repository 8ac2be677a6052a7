from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from brevo_events.models import OutboxEvent
from brevo_events.signals import event_captured


@contextmanager
def capture_events() -> Iterator[list[OutboxEvent]]:
    """
    Give a list to which each event is added as it is captured.

    It works inside ``TestCase`` too, where nothing is ever committed. The
    elements have ``name``, ``email``, ``object_id``, ``data`` and ``properties``.
    """
    captured: list[OutboxEvent] = []

    def remember(sender: Any, event: OutboxEvent, **kwargs: Any) -> None:
        captured.append(event)

    event_captured.connect(remember, weak=False)
    try:
        yield captured
    finally:
        event_captured.disconnect(remember)
