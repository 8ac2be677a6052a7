from __future__ import annotations

import socket
import ssl
from http import client
from typing import Any

import requests
import urllib3

from brevo_events.secrets import Secret
from brevo_events.transports.connections import current

TEXT_LIMIT = 500  # characters


class RequestFailed(requests.ConnectionError):
    """What prevented an answer: its kind, and a text without the key."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def named(error: Exception, key: Secret) -> RequestFailed:
    """Return what an error means, without its traceback and the key, whatever the error contains."""
    if isinstance(error, RequestFailed):
        return error
    try:
        kind, text = _kind_of(error), f"{type(error).__name__}: {_chain(error)[-1]}"
    except Exception:  # noqa: BLE001 - of a library that raises errors without a text, for instance
        kind, text = "connection", type(error).__name__
    return RequestFailed(kind, key.remove_from(text)[:TEXT_LIMIT])


def _kind_of(error: Exception) -> str:
    """Return the kind of failure at the root of a chain of exceptions."""
    if current.attempt.is_over:
        return "timeout"
    kinds: tuple[tuple[Any, str], ...] = (
        ((requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError), "timeout"),
        ((socket.gaierror,), "dns"),
        ((requests.exceptions.SSLError, ssl.SSLError), "tls"),
        ((ConnectionError,), "connection"),
        ((client.HTTPException, requests.exceptions.InvalidHeader), "protocol"),
    )
    return next((kind for types, kind in kinds for cause in _chain(error) if isinstance(cause, types)), "connection")


def _chain(error: BaseException | None) -> list[Any]:
    found: list[Any] = []
    while error is not None and error not in found:
        found.append(error)
        reason = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        context = None if error.__suppress_context__ else error.__context__
        error = reason if isinstance(reason, BaseException) else error.__cause__ or context
    return found
