from __future__ import annotations

import os
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import requests
import urllib3
from requests import certs
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from brevo_events.conf import Secret, is_loopback
from brevo_events.transports.base import Answer

ANSWER_LIMIT = 2000  # bytes of an answer that are kept
READ_LIMIT = ANSWER_LIMIT + 500  # bytes that are read: a key that lies across the limit must be found whole
HEADERS = {"accept": "application/json", "content-type": "application/json", "user-agent": "django-brevo-events"}
KEPT_HEADERS = ("retry-after", "x-sib-ratelimit-reset")


class Route:
    """
    Hold what every request of a transport shares, worked out once.

    Proxies and CA bundle come from the environment, as requests does it for
    each call; to parse the CA bundle for each connection would cost 20 ms.
    """

    def __init__(self, url: str, key: Secret, timeout: float) -> None:
        self.key = key
        self.timeout = (timeout, timeout)
        session = requests.Session()
        environment = session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
        self.proxies = {} if is_loopback(url) else environment["proxies"]
        self.tls = _tls_context(environment["verify"])
        self._prototype = requests.Request("POST", url, headers=HEADERS, data="{}").prepare()
        # Afterwards, since the frames of prepare() are shown where it fails.
        self._prototype.headers["ma-key"] = key.reveal()

    def request(self, body: str) -> requests.PreparedRequest:
        """Return the request that carries one body."""
        request = self._prototype.copy()
        request.body = body.encode()
        request.headers["Content-Length"] = str(len(request.body))
        return request


class Channel:
    """Post over one connection, for one thread at a time; another may cut it off."""

    def __init__(self, route: Route) -> None:
        self.expires_at = 0.0
        self.idle_since = 0.0
        self._is_whole = True
        self._route = route
        self._is_cut = False
        self._socket: socket.socket | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = _Adapter(self, route.tls)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    @property
    def is_reusable(self) -> bool:
        """Return whether the connection can carry another request."""
        return self._is_whole and not self._is_cut

    def post(self, body: str) -> Answer:
        """Send one body and return what came back; whatever goes wrong is an answer too."""
        started = time.monotonic()
        try:
            status, text, headers = self._exchange(body)
            return Answer(status, text, headers, duration=time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - its traceback holds the key: nothing of it may leave
            self._is_whole = False
            kind = "timeout" if self._is_cut else _kind_of(error)
            text = self._route.key.remove_from(_describe(error))
        return Answer(None, text, error=kind, duration=time.monotonic() - started)

    def connected(self, connected: socket.socket) -> None:
        """Take note of a new connection, and refuse one that came too late to be used."""
        self._socket = connected
        if time.monotonic() >= self.expires_at:
            connected.close()
            raise TimeoutError("The deadline of the attempt was over before the connection stood.")

    def cut(self) -> None:
        """Shut the connection, so that the thread that reads from it goes on at once."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                # The plain socket's way: TLS would want to say goodbye, and wait for it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back to the system."""
        self._session.close()

    def _exchange(self, body: str) -> tuple[int, str, dict[str, str]]:
        response = self._session.send(
            self._route.request(body),
            stream=True,
            allow_redirects=False,
            timeout=self._route.timeout,
            proxies=self._route.proxies,
        )
        if self._is_cut:
            # http.client takes the end of a cut connection for the end of the headers.
            raise TimeoutError("Cut off at the deadline, in the middle of the headers.")
        text = self._read(response)
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return response.status_code, text, headers

    def _read(self, response: requests.Response) -> str:
        """Read an answer up to the limit; what breaks off after the status line has been answered all the same."""
        content = b""
        try:
            content = response.raw.read(READ_LIMIT, decode_content=False)
            self._is_whole = len(content) < READ_LIMIT
        except (OSError, HTTPException, urllib3.exceptions.HTTPError):
            self._is_whole = False
        if not self.is_reusable:
            response.close()
        text = self._route.key.remove_from(content.decode(errors="replace"))
        return text.encode()[:ANSWER_LIMIT].decode(errors="ignore")


class _Adapter(HTTPAdapter):
    """Share one TLS context, and tell the channel of each connection."""

    def __init__(self, channel: Channel, tls: ssl.SSLContext) -> None:
        self._channel = channel
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)
        self._watch(manager)
        return manager

    def cert_verify(self, *args: Any) -> None:
        """Leave the certificates to the shared context: requests would have them parsed for each connection."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, _certificates = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {"cert_reqs": "CERT_REQUIRED"}

    def _watch(self, manager: Any) -> None:
        own = {"channel": self._channel}
        plain = type("PlainConnection", (_Reporting, HTTPConnection), own)
        tls = type("TlsConnection", (_Reporting, HTTPSConnection), own)
        manager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


class _Reporting:
    """Tell the channel of a connection's socket: the bare one before the TLS handshake, then the wrapped one."""

    channel: Channel
    sock: socket.socket

    def _new_conn(self) -> Any:
        bare = super()._new_conn()  # type: ignore[misc]
        self.channel.connected(bare)
        return bare

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.channel.connected(self.sock)


def _tls_context(verify: Any) -> ssl.SSLContext:
    bundle = verify if isinstance(verify, str) else certs.where()  # type: ignore[attr-defined]
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _kind_of(error: BaseException | None) -> str:
    """Name the failure that a chain of exceptions began with."""
    kinds: tuple[tuple[Any, str], ...] = (
        ((requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError), "timeout"),
        ((socket.gaierror, urllib3.exceptions.NameResolutionError), "dns"),
        ((requests.exceptions.SSLError, ssl.SSLError), "tls"),
        ((ConnectionError,), "connection"),
        ((HTTPException, requests.exceptions.InvalidHeader), "protocol"),
    )
    return next((kind for types, kind in kinds for cause in _chain(error) if isinstance(cause, types)), "connection")


def _chain(error: BaseException | None) -> list[Any]:
    found: list[Any] = []
    while error is not None and error not in found:
        found.append(error)
        reason = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__
    return found


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {_chain(error)[-1]}"[:500]
