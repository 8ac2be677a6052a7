from __future__ import annotations

import json
import shlex

from brevo_events.conf import settings
from brevo_events.endpoints import url_of
from brevo_events.events import readdressed
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import OutboxEvent


def readable(event: OutboxEvent) -> str:
    """Return the request body, indented for people."""
    return json.dumps(json.loads(event.body), indent=2, ensure_ascii=False)


def curl(event: OutboxEvent) -> str:
    """Return a command line that sends the same request, without the key."""
    try:
        url, email = url_of(event.call, settings.URL), settings.OVERRIDE_EMAIL
    except InvalidSetting as error:
        return f"# {error}"
    body = readdressed(event.body, email) if email else event.body
    return " \\\n  ".join(
        [
            f"curl -X POST {shlex.quote(url)}",
            "-H 'accept: application/json'",
            "-H 'content-type: application/json'",
            '-H "ma-key: $BREVO_MA_KEY"',
            f"--data-raw {shlex.quote(body)}",
        ]
    )
