"""
The columns that each step of an event writes, defined only here.

=========  ==========  ========  =======  ===========  ===========
status     due_at      parked    reason   lease_token  finished_at
=========  ==========  ========  =======  ===========  ===========
pending    a moment    either    empty    NULL         NULL
sending    lease ends  no        empty ¹  set          NULL
sent       NULL ²      no        empty    NULL         a moment
failed     NULL ²      no        set      NULL         a moment
cancelled  NULL ²      no        set      NULL         a moment
=========  ==========  ========  =======  ===========  ===========

¹ Or ``superseded``: an event captured in the meantime replaces this one unless
the request in flight succeeds.
² A moment until a worker has released the contact's next event.

``failure`` and ``failed_at`` are about the last answer other than an acceptance,
and are set together: always in a failed event that hasn't been erased, perhaps in
an unfinished one, never in a sent or cancelled one.

The steps as SQL are parts of the statements in ``delivery.statements``; those
as dicts are for ``QuerySet.update()``.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, F, Q, Value, When

from brevo_events.choices import Reason, Status
from brevo_events.clock import UtcNow, in_seconds

PARKED_FOR = 300  # seconds, at most: normally, the end of the event ahead releases the next one at once
LOOK_AGAIN = 0.2  # seconds, if a row that is needed is locked elsewhere
NO_FAILURE: dict[str, Any] = {"failure": None, "failed_at": None}

# A worker claims an event. Parameters: token, seconds.
LEASED = "status = 'sending', lease_token = %s, parked = FALSE, due_at = {after}"
# An answer ends the event. Parameters: status, reason, response code, 1 if the attempt counts, fingerprint, 1 if there
# is one.
ENDED = (
    "status = %s, reason = %s, response_code = %s, attempts = attempts + %s, lease_token = NULL, parked = FALSE, "
    "due_at = NULL, finished_at = {now}, failure = %s, failed_at = CASE WHEN %s = 1 THEN {now} END"
)
# Without an answer, the failure of an earlier one is kept. Parameters: fingerprint, 1 if there is one.
FAILING = "failure = COALESCE(%s, failure), failed_at = CASE WHEN %s = 1 THEN {now} ELSE failed_at END"
# The event is retried later, but is due at its expiry at the latest, so that nothing waits behind an event that can't
# be sent. Parameters: response code, 1 if the attempt counts, seconds, seconds, and those of FAILING.
PUT_BACK = (
    "status = 'pending', reason = '', response_code = %s, attempts = attempts + %s, lease_token = NULL, "
    "parked = FALSE, due_at = CASE WHEN expires_at < {after} THEN expires_at ELSE {after} END, " + FAILING
)
# The event wasn't started, or the gate is closed: it keeps its place in line. Parameters: response code, former due
# time, and those of FAILING.
GIVEN_BACK = (
    "status = 'pending', reason = '', response_code = %s, lease_token = NULL, parked = FALSE, due_at = %s, " + FAILING
)


def parked() -> dict[str, Any]:
    """A worker sets aside an event that waits behind another one of its contact."""
    return {
        "status": Status.PENDING,
        "reason": "",
        "lease_token": None,
        "parked": True,
        "due_at": in_seconds(PARKED_FOR),
    }


def released() -> dict[str, Any]:
    """A worker makes a parked event due, because the one ahead has ended."""
    return {"parked": False, "due_at": UtcNow()}


def pulled_forward() -> dict[str, Any]:
    """A worker makes a pending event due in place of older ones with its key, even if it is still delayed."""
    earliest = Case(When(available_at__gt=UtcNow(), then=UtcNow()), default=F("available_at"))
    return {**released(), "available_at": earliest}


def postponed() -> dict[str, Any]:
    """A worker will look at an event again in a moment, because a row that it needs is locked."""
    return {"due_at": in_seconds(LOOK_AGAIN)}


def obsolete(reason: Reason) -> dict[str, Any]:
    """A worker ends an event that must not be sent any more, and settles it in the same transaction."""
    return cancelled(reason)


def settled() -> dict[str, Any]:
    """A worker has released the events behind a finished one: nothing is left to do."""
    return {"due_at": None}


def cancelled(reason: Reason) -> dict[str, Any]:
    """
    A user or the application ends an event.

    It stays due until a worker has released the contact's next event: doing
    that in the user's own transaction could deadlock with workers.
    """
    return {
        "status": Status.CANCELLED,
        "reason": reason,
        "parked": False,
        "lease_token": None,
        "due_at": UtcNow(),
        "finished_at": UtcNow(),
        **NO_FAILURE,
    }


def superseded() -> dict[str, Any]:
    """A capture replaces an event: it ends, or, if it is being sent, is marked to end unless that succeeds."""
    step = cancelled(Reason.SUPERSEDED)
    return {
        "reason": step.pop("reason"),
        **{column: _unless_sending(column, value) for column, value in step.items()},
    }


def resent(has_expired: Q) -> dict[str, Any]:
    """A user sends a finished event again; one that has expired doesn't expire again."""
    return {
        "status": Status.PENDING,
        "reason": "",
        "attempts": 0,
        "parked": False,
        "available_at": UtcNow(),
        "due_at": UtcNow(),
        "expires_at": Case(When(has_expired, then=None), default=F("expires_at")),
        "finished_at": None,
        **NO_FAILURE,
    }


def _unless_sending(column: str, value: Any) -> Case:
    otherwise = value if hasattr(value, "resolve_expression") else Value(value)
    return Case(When(status=Status.SENDING, then=F(column)), default=otherwise)
