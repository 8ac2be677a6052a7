from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import requests
import urllib3

from brevo_events import __version__
from brevo_events.choices import Call
from brevo_events.conf import is_testing, settings
from brevo_events.endpoints import is_loopback, url_of
from brevo_events.exceptions import InvalidSetting
from brevo_events.secrets import Secret
from brevo_events.transports.base import Answer, Transport
from brevo_events.transports.client import Client

Made = TypeVar("Made")

HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": f"django-brevo-events/{__version__}",
}


class HttpTransport(Transport):
    """Posts events to Brevo over kept-alive connections, which all sender threads share."""

    def __init__(self, url: str, key: Secret, timeout: float, deadline: float) -> None:
        self._client = Client(url, key, timeout, deadline)
        self._prototypes = {
            call.value: requests.Request("POST", url_of(call, url), headers=HEADERS, data="{}").prepare()
            for call in Call
        }

    @classmethod
    def from_settings(cls) -> HttpTransport:
        refuse_real_hosts_under_test(settings.URL)
        if not (key := settings.ma_key()):
            raise InvalidSetting("BREVO_EVENTS['MA_KEY'] is not set: events are kept, and will be sent once it is set.")
        return usable(
            f"BREVO_EVENTS['URL'] {settings.URL!r}",
            lambda: _shared(settings.URL, key, settings.TIMEOUT, settings.attempt_deadline, os.getpid()),
        )

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        request = self._prototypes[call].copy()
        request.body = body.encode()
        request.headers["Content-Length"] = str(len(request.body))
        return self._client.send(request)


def refuse_real_hosts_under_test(url: str) -> None:
    """Raise ``InvalidSetting`` if Django's test environment is set up and the URL isn't on this machine."""
    if is_testing() and not is_loopback(url):
        raise InvalidSetting(
            "Under test the http transport calls loopback only. Use brevo_events.testing.FakeBrevo and set "
            "BREVO_EVENTS['URL'] to its url, or leave TRANSPORT at 'locmem'."
        )


def usable(address: str, make: Callable[[], Made]) -> Made:
    """Return the created object, or raise ``InvalidSetting`` if this machine can't send to an address."""
    try:
        return make()
    except (OSError, requests.RequestException) as error:
        problem = f"{type(error).__name__}: {error}"
    except (ValueError, urllib3.exceptions.HTTPError):
        problem = "the proxy in the environment has an invalid address"  # the error itself might show its password
    # Outside the except clause, so that no error from requests is its context.
    raise InvalidSetting(f"Nothing can be sent to {address} ({problem}).")


@lru_cache(maxsize=1)
def _shared(url: str, key: Secret, timeout: float, deadline: float, pid: int) -> HttpTransport:
    """Keep the connections from one delivery to the next; a forked process creates its own."""
    return HttpTransport(url, key, timeout, deadline)
