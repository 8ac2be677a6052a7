"""The answer to a request, Brevo's own error in it, and its meaning in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from brevo_events.addresses import without_addresses

MAX_COMPARED = 1000  # characters of a message
FINGERPRINT = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer to one request, or the failure that prevented one.

    ``status`` is None if there was no answer; then ``error`` names the kind of
    failure (``timeout``, ``connection``, …) and ``body`` describes it.
    ``headers`` has lower-case names; ``duration`` is in seconds.
    """

    status: int | None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    duration: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether Brevo has accepted the event."""
        return is_accepted(self.status)

    @property
    def code(self) -> str:
        """Brevo's own error code, or the kind of failure."""
        return self.error or brevo_error(self.body)[0]

    @property
    def fingerprint(self) -> str | None:
        """A hash shared by similar failures, or None if Brevo has accepted the event."""
        if self.is_taken:
            return None
        # The description of a missing answer may name sockets and lines of code, so only the kind of failure counts.
        message = "" if self.status is None else alike(brevo_error(self.body)[1])
        return sha256("\0".join([str(self.status), self.code, message]).encode(errors="replace")).hexdigest()[
            :FINGERPRINT
        ]


def is_accepted(status: int | None) -> bool:
    """Return whether a response code says that Brevo has accepted the event."""
    return status is not None and 200 <= status < 300


def brevo_error(body: str) -> tuple[str, str]:
    """Return the code and message in the body of Brevo's answer; no code and the body itself if it isn't JSON."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", body
    if not isinstance(parsed, dict):
        return "", body
    code, message = parsed.get("code"), parsed.get("message")
    return _characters(code or ""), _characters(message or body)


def alike(message: str) -> str:
    """Return a message without what differs between similar failures: addresses, quoted values, numbers, case."""
    text = without_addresses(message[:MAX_COMPARED])
    for what in (_QUOTED, _IDENTIFIER, _NUMBER):
        text = what.sub("#", text)
    return " ".join(text.casefold().split())


def meaning(status: int | None, error: str = "", message: str = "") -> str | Promise:
    """
    Return what an answer means and what to do, for people.

    ``error`` is Brevo's own code, or the kind of failure. Together with
    ``message``, it says more than the status.
    """
    if status is None:
        return _FAILURES.get(error, _("No answer came.")) if error else _("Not sent yet.")
    if 400 <= status < 500 and (words := _words_for(error, message)):
        return words
    if status in _MEANINGS:
        return _MEANINGS[status]
    for lowest, sentence in _CLASSES.items():
        if lowest <= status < lowest + 100:
            return sentence
    return _("Not a valid HTTP status. Check the setting URL, and the proxy.")


def _words_for(error: str, message: str) -> str | Promise | None:
    told = message.casefold()
    for part, sentence in _MESSAGES.items():
        if part in told:
            return sentence
    # Brevo spells its codes in several ways.
    return _ERRORS.get(re.sub(r"[\s-]+", "_", error.strip().casefold()))


def _characters(value: Any) -> str:
    # JSON can contain a lone surrogate, which no page could show.
    return str(value).encode(errors="replace").decode()


_MEANINGS: dict[int, str | Promise] = {
    400: _(
        "Brevo rejected the event. Correct what its message names, here or at Brevo; resending alone changes nothing."
    ),
    401: _("Brevo does not know the ma-key. Check MA_KEY: the client_key in Brevo's menu Automation."),
    402: _("Brevo wants the account's plan or credit to be renewed. Delivery goes on by itself after that."),
    403: _("Brevo does not allow this account to track events. Check the key, and that Automation is switched on."),
    404: _("Nothing was found at this URL. Check the setting URL."),
    405: _("This URL does not accept events. Check the setting URL."),
    408: _("Brevo waited too long for the request. This is usually temporary."),
    413: _("Brevo found the event too large. Send fewer items."),
    425: _("Brevo was not ready for the request. This is usually temporary."),
    429: _("Brevo asked to slow down. Events wait until that is over; nothing is lost."),
}
_CLASSES: dict[int, str | Promise] = {
    200: _("Brevo accepted the event."),
    300: _(
        "This URL redirects elsewhere. Redirects are never followed, because they would hand over the key. "
        "Check the setting URL."
    ),
    400: _("Brevo rejected the event."),
    500: _("Brevo had an internal error. This is usually temporary."),
}
_FAILURES: dict[str, str | Promise] = {
    "timeout": _("Brevo did not answer in time. This is usually temporary."),
    "connection": _("Brevo could not be reached. If this lasts, check the network."),
    "dns": _("The host name was not found. Check the setting URL, and the name server."),
    "tls": _("No trusted connection could be made. Check the certificates of this machine, or its proxy."),
    "protocol": _("The answer was not HTTP. Check the setting URL, and the proxy."),
}

_BLOCKLISTED = _(
    "Brevo refuses events of this contact, because it is blocklisted. There is nothing to correct in the code: "
    "unblock the contact at Brevo and resend, or stop sending events about it."
)
_MESSAGES: dict[str, str | Promise] = {"blocklisted": _BLOCKLISTED, "blacklisted": _BLOCKLISTED}
_ERRORS: dict[str, str | Promise] = {
    "out_of_range": _(
        "A value is outside of what Brevo accepts. Correct in the code what the message names. This event keeps its "
        "value: resending it changes nothing."
    ),
    "missing_parameter": _(
        "A value is missing that Brevo requires. Add in the code what the message names. This event stays as it is: "
        "resending it changes nothing."
    ),
}

_QUOTED = re.compile(r""""[^"]*"|“[^”]*”|«[^»]*»|`[^`]*`|(?<!\w)'[^']*'(?!\w)""")
_IDENTIFIER = re.compile(r"\b(?=[a-f-]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
