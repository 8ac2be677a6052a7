from __future__ import annotations

from urllib.parse import quote

import requests

from brevo_events.conf import settings
from brevo_events.endpoints import api_url_of
from brevo_events.secrets import Secret
from brevo_events.transports.base import Answer
from brevo_events.transports.client import Client
from brevo_events.transports.http import HEADERS, refuse_real_hosts_under_test, usable

ANSWER_LIMIT = 100_000  # bytes; a contact may have many attributes
DEADLINE = 5.0  # seconds: someone is waiting


class Reader:
    """Reads one host with GET requests: Brevo's API v3 with a key, or any host without one."""

    def __init__(self, url: str, key: Secret) -> None:
        refuse_real_hosts_under_test(url)
        self._url = url
        self._client = usable(repr(url), lambda: Client(url, key, DEADLINE, DEADLINE, answer_limit=ANSWER_LIMIT))

    @classmethod
    def of_account(cls) -> Reader:
        """Return a reader for the account of ``API_KEY``; raises ``InvalidSetting`` if the key is unusable."""
        return cls(api_url_of(settings.URL), settings.api_key())

    def knock(self) -> Answer:
        """Request the URL itself, to see whether and how fast anything answers."""
        return self._get("")

    def account(self) -> Answer:
        """Request the account: ``GET /v3/account``."""
        return self._get("/account")

    def contact(self, email: str) -> Answer:
        """Request one contact: ``GET /v3/contacts/{email}``."""
        return self._get(f"/contacts/{quote(email, safe='')}")

    def _get(self, path: str) -> Answer:
        return self._client.send(requests.Request("GET", self._url + path, headers=HEADERS).prepare())
