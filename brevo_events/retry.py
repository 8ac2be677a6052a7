"""What an answer means: pure functions, an answer in and a decision out."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import GateReason

MAX_BACKOFF = 3600  # seconds
MAX_WISH = 24 * 3600  # seconds; no answer may hold things back for longer
THROTTLE = 60  # seconds, where a 429 does not say how long

ACCOUNT_FAULTS = frozenset({401, 403, 404, 405})
TRANSIENT_FAULTS = frozenset({408, 425})


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Hold what came back from one request, or what kept it from coming.

    ``status`` is None where there was no answer; ``error`` then names the kind
    of failure (``timeout``, ``connection``, …) and ``body`` describes it.
    ``headers`` has lower-case names; ``duration`` is in seconds.
    """

    status: int | None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    duration: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Return whether Brevo has taken the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def code(self) -> str:
        """Return Brevo's own error code, or the kind of failure."""
        return self.error or brevo_error(self.body)[0]


class Outcome(Enum):
    """Name what becomes of an event after an answer."""

    SENT = "sent"
    REJECTED = "rejected"
    RETRY = "retry"
    GAVE_UP = "gave_up"
    HELD = "held"  # the gate closes; the event waits behind it and nothing is counted


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold an outcome; ``delay`` is in seconds, and None where the answer asked for none."""

    outcome: Outcome
    delay: float | None = None
    gate_reason: GateReason | None = None

    @property
    def is_about_event(self) -> bool:
        """Return whether Brevo judged the event itself, which shows that key and service are well."""
        return self.outcome in (Outcome.SENT, Outcome.REJECTED)


def decide(answer: Answer, *, attempts: int, max_attempts: int) -> Decision:
    """Return what becomes of an event; ``attempts`` were counted before this one."""
    status = answer.status
    if answer.is_taken:
        return Decision(Outcome.SENT)
    if status in ACCOUNT_FAULTS or (status is not None and 300 <= status < 400):
        return Decision(Outcome.HELD, gate_reason=GateReason.ACCOUNT)
    if status == 429:
        return Decision(Outcome.HELD, throttle(answer.headers), GateReason.THROTTLED)
    if status is not None and 400 <= status < 500 and status not in TRANSIENT_FAULTS:
        return Decision(Outcome.REJECTED)
    if attempts + 1 >= max_attempts:
        return Decision(Outcome.GAVE_UP)
    return Decision(Outcome.RETRY, retry_after(answer.headers))


def backoff(attempts: int, first: float) -> float:
    """Return the seconds before the next attempt, jitter included, after so many counted ones."""
    delay = first * 2.0 ** min(max(attempts - 1, 0), 30)
    return min(delay, MAX_BACKOFF) * random.uniform(0.75, 1)  # noqa: S311 - jitter is no secret


def throttle(headers: Mapping[str, str]) -> float:
    """
    Return the seconds that a 429 asks for.

    Brevo's API v3 sends ``x-sib-ratelimit-reset`` in seconds from now and no
    ``Retry-After`` (https://developers.brevo.com/docs/api-limits).
    """
    asked = retry_after(headers)
    if asked is None:
        asked = _seconds(headers.get("x-sib-ratelimit-reset", ""))
        # A moment instead of a span would hold everything back for a day.
        asked = None if asked == MAX_WISH else asked
    return THROTTLE if asked is None else asked


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, given as seconds or as a date."""
    value = headers.get("retry-after", "")
    if (seconds := _seconds(value)) is not None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        return _clamp((when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def brevo_error(body: str) -> tuple[str, str]:
    """Return Brevo's code and message from an answer's body; without JSON, no code and the body itself."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", body
    if not isinstance(parsed, dict):
        return "", body
    code, message = parsed.get("code"), parsed.get("message")
    return _characters(code or ""), _characters(message or body)


def meaning(status: int | None, error: str = "") -> str | Promise:
    """Return in one sentence what an answer means and what to do."""
    if status is None:
        return _FAILURES.get(error, _("No answer came.")) if error else _("Not sent yet.")
    if status in _MEANINGS:
        return _MEANINGS[status]
    for lowest, sentence in _CLASSES.items():
        if lowest <= status < lowest + 100:
            return sentence
    return _("An answer that HTTP does not know. Check URL and proxy.")


def _characters(value: Any) -> str:
    # JSON can spell a lone surrogate, and no page could show it.
    return str(value).encode(errors="replace").decode()


def _seconds(value: str) -> float | None:
    return _clamp(float(value)) if value.strip().isascii() and value.strip().isdigit() else None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WISH)


_MEANINGS: dict[int, str | Promise] = {
    400: _(
        "Brevo refused the event: its message says which value. Correct it in the code; a resend alone changes nothing."
    ),
    401: _("Brevo does not know the ma-key. Check MA_KEY: the client_key in Brevo's menu Automation."),
    403: _("Brevo does not allow this account to track events. Check the key, and that Automation is switched on."),
    404: _("There is nothing at this address. Check URL."),
    405: _("The address does not take events. Check URL."),
    408: _("Brevo waited too long for the request. It is a passing fault."),
    413: _("Brevo found the event too large. Send fewer items."),
    425: _("Brevo had a problem of its own. It is a passing fault."),
    429: _("Brevo asked to slow down. Everything waits until that is over, then it is sent."),
}
_CLASSES: dict[int, str | Promise] = {
    200: _("Brevo has taken the event."),
    300: _(
        "The address points elsewhere. Redirects are never followed, since they would hand over the key. Check URL."
    ),
    400: _("Brevo refused the event."),
    500: _("Brevo had a problem of its own. It is a passing fault."),
}
_FAILURES: dict[str, str | Promise] = {
    "timeout": _("Brevo did not answer in time. It is a passing fault."),
    "connection": _("Brevo could not be reached. Check the network if it lasts."),
    "dns": _("The host name was not found. Check URL and the name server."),
    "tls": _("No trusted connection could be made. Check the certificates of this machine, or its proxy."),
    "protocol": _("What came back was not HTTP. Check URL and proxy."),
}
