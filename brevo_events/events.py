from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from hashlib import sha256
from typing import Any

from django.utils.encoding import punycode
from django.utils.functional import Promise

from brevo_events.encoding import check_text, encode
from brevo_events.exceptions import InvalidEvent

# Brevo documents no limits for this endpoint; these are its published ones for the custom events of API v3.
MAX_NAME_LENGTH = 255
MAX_BODY_BYTES = 50_000
MAX_EMAIL_LENGTH = 254
MAX_OBJECT_ID_LENGTH = 255
MAX_KEY_LENGTH = 255
MAX_SPAN = 366 * 24 * 3600  # seconds, for delay and expires
RESERVED_PROPERTIES = ("email", "event")

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, init=False, repr=False)
class Event:
    """
    Hold what happened to whom, checked and JSON-ready.

    ``data`` and ``properties`` are copied and encoded here, so that a later
    change of the caller's dicts changes nothing. Raises ``InvalidEvent`` with
    the path of the value, as in ``data.items[2].price``.

    ``coalesce``: of several that wait with the same name, contact and object,
    only the newest goes out, when the first of them falls due. ``delay``:
    seconds or a timedelta before the event becomes due, kept in seconds.
    ``supersedes``: names of events of the same contact and object that are
    cancelled if they still wait. ``expires``: seconds or a timedelta from the
    capture, after which the event must not go out any more, kept in seconds.
    ``idempotency_key``: a second capture with the same key, of whatever event,
    keeps nothing.
    """

    name: str
    email: str
    object_id: str | None = None
    data: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    coalesce: bool = False
    delay: float | None = None
    supersedes: tuple[str, ...] = ()
    expires: float | None = None
    idempotency_key: str | None = None

    def __init__(
        self,
        name: str,
        email: str,
        *,
        object_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        coalesce: bool = False,
        delay: float | timedelta | None = None,
        supersedes: Iterable[str] = (),
        expires: float | timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "name", _short_text(name, "name", MAX_NAME_LENGTH))
        put(self, "email", _address(email))
        put(self, "object_id", None if object_id is None else _short_text(object_id, "object_id", MAX_OBJECT_ID_LENGTH))
        put(self, "data", _mapping(data, "data"))
        put(self, "properties", _mapping(properties, "properties"))
        for key in RESERVED_PROPERTIES:
            if self.properties and key in self.properties:
                raise InvalidEvent(f"properties.{key} is a name that Brevo keeps for itself: choose another.")
        put(self, "_json", _serialise(self.body()))
        if not isinstance(coalesce, bool):
            raise InvalidEvent(f"coalesce must be True or False, not {coalesce!r}.")
        put(self, "coalesce", coalesce)
        put(self, "delay", _seconds(delay, "delay"))
        put(self, "supersedes", _names(supersedes) if supersedes != () else ())
        put(self, "expires", _seconds(expires, "expires"))
        put(self, "idempotency_key", _key(idempotency_key))
        if self.expires is not None and self.expires <= (self.delay or 0):
            raise InvalidEvent("expires must be longer than delay: the event could never go out.")

    def __hash__(self) -> int:
        return hash(self.json())

    def __repr__(self) -> str:
        return f"Event(name={self.name!r}, object_id={self.object_id!r})"

    @property
    def contact(self) -> str:
        """Return the key by which contacts are compared, a hash."""
        return contact_of(self.email)

    @property
    def coalesce_key(self) -> str | None:
        """Return the key by which events coalesce, a hash, or None where this one does not."""
        if not self.coalesce:
            return None
        return sha256("\0".join([self.name, self.contact, self.object_id or ""]).encode()).hexdigest()

    def body(self) -> dict[str, Any]:
        """Return the request body as a dict; parts that are absent are left out."""
        body: dict[str, Any] = {"email": self.email, "event": self.name}
        if self.properties:
            body["properties"] = self.properties
        eventdata: dict[str, Any] = {}
        if self.object_id is not None:
            eventdata["id"] = self.object_id
        if self.data:
            eventdata["data"] = self.data
        if eventdata:
            body["eventdata"] = eventdata
        return body

    def json(self) -> str:
        """Return the request body as the exact text that is sent."""
        return self._json  # type: ignore[attr-defined, no-any-return]


def contact_of(email: str) -> str:
    """
    Return the hash by which contacts are compared, the same for every spelling of an address.

    Its letters are made small and its domain is written in punycode. A hash,
    because MariaDB's usual collation takes ``josé@`` and ``jose@`` for equal.
    """
    local, _, domain = email.strip().lower().rpartition("@")
    if not domain.isascii():
        with suppress(UnicodeError):
            domain = punycode(domain)
    return sha256(f"{local}@{domain}".encode(errors="replace")).hexdigest()


def hash_of(key: str) -> str:
    """Return what is stored of an idempotency key."""
    return sha256(key.encode()).hexdigest()


def readdressed(body: str, email: str) -> str:
    """Return a request body, a JSON text, that is about another contact."""
    return _to_json({**json.loads(body), "email": email})


def _short_text(value: Any, path: str, max_length: int) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Promise):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidEvent(f"{path} must be a string, not {type(value).__name__}.")
    if not value.strip():
        raise InvalidEvent(f"{path} must not be empty.")
    if len(value) > max_length:
        raise InvalidEvent(f"{path} is {len(value)} characters long: {max_length} at most.")
    return check_text(value, path)


def _address(value: Any) -> str:
    email = _short_text(value, "email", MAX_EMAIL_LENGTH)
    if not _EMAIL.fullmatch(email):
        raise InvalidEvent("email is not an e-mail address like ada@example.com.")
    try:
        punycode(email.rpartition("@")[2])
    except UnicodeError as error:
        raise InvalidEvent("email has a domain that no mail server can have.") from error
    return email


def _mapping(value: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidEvent(f"{path} must be a dict, not {type(value).__name__}.")
    return encode(value, path)  # type: ignore[no-any-return]


def _seconds(value: Any, path: str) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidEvent(f"{path} must be seconds or a timedelta, not {type(value).__name__}.")
    if not 0 <= seconds <= MAX_SPAN:
        raise InvalidEvent(f"{path} must be from 0 seconds to 366 days, not {value}.")
    return seconds


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | Promise) or not isinstance(value, Iterable):
        raise InvalidEvent('supersedes must be a tuple of names, as in ("cart_updated",).')
    return tuple(_short_text(name, "a name in supersedes", MAX_NAME_LENGTH) for name in value)


def _key(value: Any) -> str | None:
    return None if value is None else _short_text(value, "idempotency_key", MAX_KEY_LENGTH)


def _serialise(body: dict[str, Any]) -> str:
    text = _to_json(body)
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_BODY_BYTES:
        raise InvalidEvent(
            f"The body is {size} bytes long: {MAX_BODY_BYTES} at most. Send fewer items or shorter texts."
        )
    return text
