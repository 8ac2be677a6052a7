from __future__ import annotations

import json
import sys

from brevo_events.choices import Call
from brevo_events.transports.base import Answer, Transport


class ConsoleTransport(Transport):
    """Prints each request body instead of sending it, for development."""

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        sys.stdout.write(json.dumps(json.loads(body), indent=2) + "\n")
        return Answer(204, "Printed to the console, not sent.")
