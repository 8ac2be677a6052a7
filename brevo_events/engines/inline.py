from __future__ import annotations

from brevo_events.conf import is_testing
from brevo_events.delivery import deliver
from brevo_events.engines.base import Engine
from brevo_events.engines.complaints import Complaints
from brevo_events.exceptions import InvalidSetting

LIMIT = 100  # events; a request must not spend hours on sending what others left behind


class InlineEngine(Engine):
    """Delivers in the caller's own thread, right after its commit: for tests, scripts and small sites."""

    sends_in_request = True

    def __init__(self) -> None:
        self._complaints = Complaints()

    def nudge(self) -> None:
        try:
            deliver(limit=LIMIT)
        except InvalidSetting as error:
            if is_testing():
                raise
            self._complaints.log(f"Nothing was sent. {error}")
        else:
            self._complaints.forget()
