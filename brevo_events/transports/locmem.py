from __future__ import annotations

import json
from typing import Any

from brevo_events.choices import Call
from brevo_events.transports.base import Answer, Transport

sent: list[dict[str, Any]] = []


class LocmemTransport(Transport):
    """Appends each request body to ``brevo_events.transports.locmem.sent`` instead of sending it, for tests."""

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        sent.append(json.loads(body))
        return Answer(204, "Kept in memory, not sent.")
