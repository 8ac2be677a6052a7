from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any, ClassVar

from django.db import Error as DatabaseError
from django.utils.functional import Promise

from brevo_events.addresses import MAX_EMAIL_LENGTH, contact_hash, problem_of
from brevo_events.choices import Call
from brevo_events.encoding import (
    MAX_BODY_BYTES,
    encode,
    has_control_character,
    plain_number,
    plain_text,
    shown,
    text_problem,
)
from brevo_events.exceptions import InvalidEvent

MAX_NAME_LENGTH = 255  # as for custom events in API v3
MAX_OBJECT_ID_LENGTH = 255
MAX_KEY_LENGTH = 255
MAX_NAMES = 100  # in supersedes, and in implied_by
MAX_SPAN = 366 * 24 * 3600  # seconds, for delay and expires
RESERVED_PROPERTIES = ("email", "event")

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


@dataclass(frozen=True, repr=False)
class Event:
    """
    What happened to whom: a validated value that is ready to be sent.

    ``data`` and ``properties`` are copied and encoded here, so changing the
    caller's dicts later has no effect. Raises ``InvalidEvent`` with the path of
    the value, as in ``data.items[2].price``.

    ``coalesce``: of several pending events with the same name, contact and
    object, only the newest is sent, when the first of them is due. ``delay``:
    seconds or a timedelta before the event is due, stored in seconds.
    ``supersedes``: names of events of the same contact and object that are
    cancelled if they are still pending. ``implied_by``: names of events of the
    same contact and object that say the same as this one. If the last event
    sent, or to be sent, is one of them, and no event named in ``supersedes``
    came after it, nothing is captured. ``expires``: seconds or a timedelta from
    the capture, after which the event must not be sent, stored in seconds.
    ``idempotency_key``: a second capture with the same key, of any event,
    captures nothing.
    """

    name: str
    email: str
    _: KW_ONLY
    object_id: str | None = None
    data: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    coalesce: bool = False
    delay: float | timedelta | None = None
    supersedes: Iterable[str] = ()
    implied_by: Iterable[str] = ()
    expires: float | timedelta | None = None
    idempotency_key: str | None = None

    call: ClassVar[Call] = Call.TRACK_EVENT
    _properties: ClassVar[str] = "properties"  # as the caller calls them

    def __post_init__(self) -> None:
        try:
            self._check()
        except (InvalidEvent, DatabaseError):
            raise
        except Exception as error:  # the code of a lazy string or an iterable must not break a checkout
            raise InvalidEvent(f"The event cannot be read: {type(error).__name__}.") from error

    def _check(self) -> None:
        put = partial(object.__setattr__, self)
        put("name", _short_text(self.name, "name", MAX_NAME_LENGTH))
        if (self.name == Call.IDENTIFY) != (self.call == Call.IDENTIFY):
            raise InvalidEvent(f"name must not be {self.name!r}: to identify a contact, call identify().")
        put("email", _address(self.email))
        put("object_id", _optional_text(self.object_id, "object_id", MAX_OBJECT_ID_LENGTH))
        put("data", _mapping(self.data, "data"))
        put("properties", self._checked_properties())
        put("_json", _serialise(self.body()))
        if not isinstance(self.coalesce, bool):
            raise InvalidEvent(f"coalesce must be True or False, not {shown(self.coalesce)}.")
        put("delay", _seconds(self.delay, "delay"))
        for name in ("supersedes", "implied_by"):
            if (names := getattr(self, name)) != ():
                put(name, _names(names, name))
        put("expires", _seconds(self.expires, "expires"))
        put("idempotency_key", _optional_text(self.idempotency_key, "idempotency_key", MAX_KEY_LENGTH))
        if self.expires is not None and self.expires <= (self.delay or 0):  # type: ignore[operator]
            raise InvalidEvent("expires must be longer than delay: otherwise the event could never be sent.")

    def _checked_properties(self) -> dict[str, Any] | None:
        properties = _mapping(self.properties, self._properties)
        for key in RESERVED_PROPERTIES:
            if properties and key in properties:
                raise InvalidEvent(f"{self._properties}.{key} is reserved by Brevo: choose another name.")
        return properties

    def __hash__(self) -> int:
        return hash(self.json())

    def __repr__(self) -> str:
        return f"Event(name={self.name!r}, object_id={self.object_id!r})"

    @property
    def contact_hash(self) -> str:
        """The hash by which contacts are compared."""
        return contact_hash(self.email)

    @property
    def coalesce_key(self) -> str | None:
        """The hash by which events coalesce, or None if this one doesn't."""
        if not self.coalesce:
            return None
        return sha256("\0".join([self.name, self.contact_hash, self.object_id or ""]).encode()).hexdigest()

    def body(self) -> dict[str, Any]:
        """Return the request body as a dict, without absent parts."""
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


class Identification(Event):
    """
    A call of ``identify``: makes sure that the contact exists, with these attributes.

    In the outbox it is an event with the name ``identify``, whose
    ``properties`` are the attributes. They may be empty: Brevo documents them
    as optional (developers.brevo.com/docs/identify-users-js).
    """

    call = Call.IDENTIFY
    _properties = "attributes"

    def __init__(
        self,
        email: str,
        attributes: Mapping[str, Any],
        *,
        delay: float | timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        options: dict[str, Any] = {"delay": delay, "idempotency_key": idempotency_key}
        super().__init__(Call.IDENTIFY.value, email, properties=attributes, coalesce=True, **options)

    @property
    def coalesce_key(self) -> str:
        """The contact's own hash: from it the outbox knows, without another column, what an event may coalesce with."""
        return self.contact_hash

    def body(self) -> dict[str, Any]:
        return {"email": self.email, "attributes": self.properties}

    def _checked_properties(self) -> dict[str, Any]:
        attributes = super()._checked_properties()
        if attributes is None:
            raise InvalidEvent(
                'attributes must be a dict, as in {"FIRSTNAME": "Ada"}; {} if only the address is known.'
            )
        return attributes


def key_hash(key: str) -> str:
    """Return the hash that is stored for an idempotency key."""
    return sha256(key.encode()).hexdigest()


def readdressed(body: str, email: str) -> str:
    """Return a request body, as JSON text, with another contact's address."""
    return _to_json({**json.loads(body), "email": email})


def _short_text(value: Any, path: str, max_length: int) -> str:
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str | Promise):
        raise InvalidEvent(f"{path} must be a string, not {type(value).__name__}.")
    text = plain_text(value)
    if not text.strip():
        raise InvalidEvent(f"{path} must not be empty.")
    if len(text) > max_length:
        raise InvalidEvent(f"{path} is {len(text)} characters long: {max_length} at most.")
    if problem := text_problem(text):
        raise InvalidEvent(f"{path} {problem}.")
    if has_control_character(text):
        raise InvalidEvent(f"{path} contains a control character, such as a line break.")
    return text


def _optional_text(value: Any, path: str, max_length: int) -> str | None:
    return None if value is None else _short_text(value, path, max_length)


def _address(value: Any) -> str:
    email = _short_text(value, "email", MAX_EMAIL_LENGTH)
    if problem := problem_of(email):
        raise InvalidEvent(f"email {problem}.")
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
    try:
        seconds = timedelta.total_seconds(value) if isinstance(value, timedelta) else plain_number(value)
    except TypeError:
        seconds = None
    if seconds is None or isinstance(value, bool):
        raise InvalidEvent(f"{path} must be seconds or a timedelta, not {type(value).__name__}.")
    if not 0 <= seconds <= MAX_SPAN:
        given = timedelta.__str__(value) if isinstance(value, timedelta) else shown(seconds)
        raise InvalidEvent(f"{path} must be from 0 seconds to 366 days, not {given}.")
    return seconds


def _names(value: Any, path: str) -> tuple[str, ...]:
    if isinstance(value, str | Promise) or not isinstance(value, Iterable):
        raise InvalidEvent(f'{path} must be a tuple of names, as in ("cart_updated",).')
    names = tuple(_short_text(name, f"a name in {path}", MAX_NAME_LENGTH) for name in islice(value, MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise InvalidEvent(f"{path} holds more than {MAX_NAMES} names.")
    return names


def _serialise(body: dict[str, Any]) -> str:
    text = _to_json(body)
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_BODY_BYTES:
        raise InvalidEvent(
            f"The body is {size} bytes long: {MAX_BODY_BYTES} at most. Send fewer items or shorter texts."
        )
    return text
