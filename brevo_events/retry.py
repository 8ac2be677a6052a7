"""The meaning of an answer: pure functions that take an answer and return a verdict."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from brevo_events.answers import Answer
from brevo_events.choices import GateReason, Reason, Status

MAX_BACKOFF = 3600  # seconds
MAX_WISH = 3600  # seconds; no answer may put delivery on hold for longer, because asking again costs only one request
MIN_THROTTLE = 1  # seconds; after a 429 that says 0, requests would go on without a pause
THROTTLE = 60  # seconds, if a 429 doesn't say how long
MOMENTS = 10**9  # from here on, a number is a Unix time (2001 or later), not a duration in seconds

ACCOUNT_FAULTS = frozenset({401, 402, 403, 404, 405})
TRANSIENT_FAULTS = frozenset({408, 425})


class Verdict(NamedTuple):
    """
    The complete meaning of an answer: what becomes of the event and of the gate.

    ``delay`` is in seconds; with None, an event that is put back keeps its
    place in line. ``hold`` is how many seconds the answer asks everyone to
    wait, None if it doesn't say.
    """

    status: Status
    reason: Reason | Literal[""] = ""
    is_counted: bool = False
    delay: float | None = None
    closes: GateReason | None = None
    hold: float | None = None

    @property
    def is_about_event(self) -> bool:
        """Whether Brevo judged the event itself, which shows that the key and the service are fine."""
        return self.status == Status.SENT or self.reason == Reason.REJECTED


def decide(
    answer: Answer,
    *,
    attempts: int,
    max_attempts: int,
    first_backoff: float,
    last_code: int | None = None,
    is_probe: bool = False,
    is_counting: bool = True,
) -> Verdict:
    """
    Return the verdict on an answer.

    ``attempts`` were counted before this one; the last of them was answered
    with ``last_code``. A probe is an event sent while the gate was closed.
    During an outage, no attempt is counted.
    """
    closes = closing(answer.status, None if is_probe else last_code)
    wait = backoff(attempts + 1, first_backoff)
    if answer.is_taken:
        return Verdict(Status.SENT, is_counted=True)
    if closes:
        # These are to be sent at once when the gate opens, but after a failed probe, other events are tried first.
        hold = throttle(answer.headers) if closes == GateReason.THROTTLED else None
        return Verdict(Status.PENDING, delay=wait if is_probe else None, closes=closes, hold=hold)
    if _is_rejected(answer.status):
        return Verdict(Status.FAILED, Reason.REJECTED, is_counted=True)
    if not is_counting:
        return Verdict(Status.PENDING, delay=wait if is_probe else None)
    if attempts + 1 >= max_attempts:
        return Verdict(Status.FAILED, Reason.GAVE_UP, is_counted=True)
    return Verdict(Status.PENDING, is_counted=True, delay=max(wait, retry_after(answer.headers) or 0))


def closing(status: int | None, last_code: int | None = None) -> GateReason | None:
    """
    Return why an answer with this status closes the gate at once, or None.

    A fault of the account or the URL affects all events. But if the gate has
    been open since ``last_code``, and an event gets such an answer again, the
    event itself is the problem.
    """
    if status == 429:
        return GateReason.THROTTLED
    return GateReason.ACCOUNT if is_account_fault(status) and not is_account_fault(last_code) else None


def is_account_fault(status: int | None) -> bool:
    """Return whether a status is about the key, the account or the URL rather than the event."""
    return status is not None and (status in ACCOUNT_FAULTS or 300 <= status < 400)


def is_failure(status: int | None) -> bool | None:
    """Return whether a status means that Brevo is failing (True), working (False), or neither (None)."""
    if is_account_fault(status) or status == 429:
        return None
    return not (status is not None and (200 <= status < 300 or _is_rejected(status)))


def _is_rejected(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in TRANSIENT_FAULTS | ACCOUNT_FAULTS | {429}


def backoff(attempts: int, first: float) -> float:
    """Return the seconds before the next attempt, with jitter, after this many counted attempts."""
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
    return THROTTLE if asked is None else max(asked, MIN_THROTTLE)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Return the seconds that a ``Retry-After`` header asks for, given as seconds or as a date.

    A date is compared with the answer's own ``Date``, because this machine's
    clock may be hours off.
    """
    value = headers.get("retry-after", "")
    if (when := _date(value)) is None:
        return _seconds(value)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return _clamp((when - now).total_seconds())


def _seconds(value: str) -> float | None:
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit()) or float(digits) >= MOMENTS:
        return None
    return _clamp(float(digits))


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date
    except (ValueError, TypeError, OverflowError):
        return None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WISH)
