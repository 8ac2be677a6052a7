from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from http import client
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests import certs
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from urllib3.util.ssl_ import is_ipaddress

from brevo_events.answers import Answer
from brevo_events.endpoints import is_loopback
from brevo_events.secrets import Secret
from brevo_events.transports.connections import POOLS, Attempt, current
from brevo_events.transports.deadlines import Deadlines
from brevo_events.transports.failures import named

ANSWER_LIMIT = 2000  # bytes of an answer that are read and kept
HEADER_LIMIT = 100  # characters
MAX_CONNECTIONS = 256  # the highest CONCURRENCY, so that every thread can keep its connection
KEPT_HEADERS = ("date", "retry-after", "x-sib-ratelimit-reset")


class Client:
    """
    Kept-alive connections to the host of one URL, shared by many threads; each request gets an answer.

    It sends the key in its header. An attempt is cut off at its deadline,
    however slowly the answer trickles in. Redirects are never followed, because
    ``requests`` would send the header to the other host.
    """

    def __init__(
        self, url: str, key: Secret, timeout: float, deadline: float, *, answer_limit: int = ANSWER_LIMIT
    ) -> None:
        self._key = key
        self._seconds = deadline
        self._answer_limit = answer_limit
        self._deadlines = Deadlines()
        # Proxies and the CA bundle come from the environment; requests would look them up for each call, but once is
        # enough.
        environment = requests.Session().merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
        self._proxies = {} if is_loopback(url) else environment["proxies"]
        self._timeout = (timeout, timeout)
        self._session = _Session()
        adapter = _Adapter(key, _tls_context(environment["verify"], url))
        adapter.prepare_pool(requests.Request("GET", url).prepare(), self._proxies)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest) -> Answer:
        """Send a request to the host, and return the answer, or what prevented it."""
        attempt = current.attempt = Attempt(self._key, self._seconds)
        try:
            with self._deadlines.enforced(attempt):
                answer = self._exchange(request, attempt)
                if attempt.lost_its_connection and answer.error != "timeout":
                    attempt.wants_new = True
                    answer = self._exchange(request, attempt)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C or the end of the process
            interrupt = error.with_traceback(None)
        else:
            return answer
        # Raise a new exception here, because the frames below hold the key, and so do those of an error that was being
        # handled.
        interrupt.__cause__ = interrupt.__context__ = None
        raise interrupt

    def _exchange(self, request: requests.PreparedRequest, attempt: Attempt) -> Answer:
        """Send a request once; whatever goes wrong is returned as an answer."""
        try:
            response = self._session.send(
                request, stream=True, allow_redirects=False, timeout=self._timeout, proxies=self._proxies
            )
            text, headers = self._read(response)
            return Answer(response.status_code, text, headers, duration=attempt.duration)
        except Exception as error:  # noqa: BLE001 - its traceback may hold the key: nothing of it may leave
            failure = error
        # Outside the except clause, so that an error here wouldn't have that one as its context.
        failed = named(failure.with_traceback(None), self._key)
        return Answer(None, str(failed), error=failed.kind, duration=attempt.duration)

    def _read(self, response: requests.Response) -> tuple[str, dict[str, str]]:
        """Read an answer up to the limit; if it breaks off after the status line, the status still counts."""
        content = b""
        is_whole = False
        try:
            content = response.raw.read(self._answer_limit, decode_content=False)
            is_whole = len(content) < self._answer_limit
        except (OSError, ValueError, client.HTTPException, urllib3.exceptions.HTTPError):
            pass
        if not is_whole:
            response.close()
        # Clean before cutting, because part of a key couldn't be recognised.
        text = self._key.remove_from(content.decode(errors="replace"))
        headers = {
            name: self._key.remove_from(response.headers[name])[:HEADER_LIMIT]
            for name in KEPT_HEADERS
            if name in response.headers
        }
        return text.encode()[: self._answer_limit].decode(errors="ignore"), headers


class _Session(requests.Session):
    """A session without cookies or redirects; ``send`` isn't overridden, because tracing tools wrap it."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies = _NoCookies()

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # Even without following redirects, requests would prepare the next request, and read the whole body for that.
        return iter(())


class _NoCookies(RequestsCookieJar):
    def extract_cookies(self, *args: Any) -> None:
        pass


class _Adapter(HTTPAdapter):
    """An adapter with one pool and one TLS context, whose errors name the kind of failure and nothing else."""

    def __init__(self, key: Secret, tls: ssl.SSLContext) -> None:
        self._key = key
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=MAX_CONNECTIONS)

    def prepare_pool(self, request: requests.PreparedRequest, proxies: Any) -> None:
        """Create the pool for all requests to this URL."""
        self._pool = super().get_connection_with_tls_context(request, True, proxies)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        failure: Exception = TimeoutError("Cut off at the deadline, in the middle of the headers.")
        try:
            response = super().send(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a tracing tool would record it as it is
            failure = error
        else:
            if not current.attempt.is_over:
                return response
            # http.client mistakes the end of a cut connection for the end of the headers.
            response.close()
        failure = named(failure, self._key)
        raise failure

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        # Like requests, but without parsing cookies and guessing the encoding, which aren't needed.
        response = requests.Response()
        response.status_code, response.reason, response.raw = resp.status, resp.reason, resp
        response.headers = CaseInsensitiveDict(resp.headers)
        response.request, response.url, response.connection = req, req.url, self
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise requests.exceptions.InvalidSchema("A SOCKS proxy is not supported.")
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        return self._pool

    def cert_verify(self, *args: Any) -> None:
        """Leave the certificates to the shared context, because requests would load them for each connection."""


def _tls_context(verify: Any, url: str) -> ssl.SSLContext:
    bundle = verify if isinstance(verify, str) else certs.where()  # type: ignore[attr-defined]
    if os.path.isdir(bundle):
        context = ssl.create_default_context(capath=bundle)
    else:
        context = ssl.create_default_context(cafile=bundle)
    # urllib3 1.26 doesn't give the context an IP address to check, and both versions compare names that the context
    # doesn't.
    context.check_hostname = not is_ipaddress(urlsplit(url).hostname or "")
    return context
