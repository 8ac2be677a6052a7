"""A fake Brevo: a loopback HTTP server that answers as Brevo does, or misbehaves when told to.

It is for tests and for development without a Brevo account; no part of the app depends on it.
From a shell: `python -m brevo_events.testing.fake_brevo --port 8025 [--ma-key KEY] [--api-key KEY] [--latency S]`.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from io import BufferedReader
from itertools import chain, repeat
from typing import Any, Literal, Self
from urllib.parse import unquote

TRACK_PATH, IDENTIFY_PATH = "/api/v2/trackEvent", "/api/v2/identify"
ACCOUNT_PATH, CONTACTS_PATH = "/v3/account", "/v3/contacts/"
MAX_BODY = 1_000_000
_CHUNK = 65_536
_PHRASES = {item.value: item.phrase for item in HTTPStatus}


@dataclass(frozen=True)
class ReceivedRequest:
    """One request; header names are lower-case, and `status` is None if no whole answer was to be sent.

    `client_port` tells connections apart.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: float
    status: int | None = None
    client_port: int = 0

    @cached_property
    def json(self) -> Any:
        """The parsed body; None if it isn't UTF-8 JSON (NaN and Infinity, which Python would parse, aren't)."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.body.decode(), parse_constant=int)  # int("NaN") raises ValueError


@dataclass(frozen=True)
class Reply:
    """One answer, sent after `delay` seconds, without a body for 204 and 304; the class methods set the rest."""

    status: int | None = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    mode: Literal["plain", "hang", "drip", "raw", "reset"] = "plain"
    amount: float = 0.0
    early: tuple[int, ...] = ()

    @classmethod
    def error(cls, status: int, code: str, message: str = "", *, delay: float = 0.0, **headers: str) -> Self:
        """Answer with Brevo's error body; other keyword arguments become headers."""
        body = json.dumps({"code": code, "message": message}).encode()
        return cls(status, {"content-type": "application/json", **headers}, body, delay)

    @classmethod
    def of(cls, content: Any, status: int = 200) -> Self:
        """Answer with JSON."""
        return cls(status, {"content-type": "application/json"}, json.dumps(content).encode())

    @classmethod
    def too_many(
        cls, retry_after: float | str | None = None, reset: float | str | None = None, *, delay: float = 0.0
    ) -> Self:
        """Answer 429; `retry_after` adds `Retry-After`, `reset` the three `x-sib-ratelimit-*` headers."""
        limits = {"limit": "10", "remaining": "0", "reset": str(reset)} if reset is not None else {}
        headers = {f"x-sib-ratelimit-{name}": value for name, value in limits.items()}
        if retry_after is not None:
            headers["retry-after"] = str(retry_after)
        return cls.error(429, "too_many_requests", "Too many requests", delay=delay, **headers)

    @classmethod
    def redirect(cls, location: str, status: int = 302, *, delay: float = 0.0) -> Self:
        """Redirect the client to another URL."""
        return cls(status, {"location": location}, delay=delay)

    @classmethod
    def hang(cls, seconds: float, *, delay: float = 0.0) -> Self:
        """Send no answer for that long, then close; stop() ends it early."""
        return cls(None, delay=delay, mode="hang", amount=seconds)

    @classmethod
    def drip(cls, interval: float, in_body: bool = False, *, delay: float = 0.0) -> Self:
        """Send one byte per interval, endlessly: of the head, or `in_body`, after a complete head with status 200."""
        if in_body:
            return cls(200, {"content-length": "1000000000"}, b"", delay, "drip", interval)
        return cls(None, {}, b"HTTP/1.1 200 OK\r\nx-drip: ", delay, "drip", interval)

    @classmethod
    def reset(cls, *, delay: float = 0.0) -> Self:
        """Close the connection with a TCP reset instead of an answer."""
        return cls(None, delay=delay, mode="reset")

    @classmethod
    def half_body(cls, status: int = 200, *, delay: float = 0.0) -> Self:
        """Announce a longer body than is sent, then close."""
        return cls(status, {"content-length": "1000", "connection": "close"}, b'{"code": "half', delay)

    @classmethod
    def huge(cls, size: int, status: int = 200, *, delay: float = 0.0) -> Self:
        """Send a body of that many bytes, generated on the fly, so that it may be larger than memory."""
        return cls(status, {"content-length": str(size)}, delay=delay, amount=size)

    @classmethod
    def raw(cls, content: bytes, *, delay: float = 0.0) -> Self:
        """Send exactly these bytes, then close."""
        return cls(None, {}, content, delay, "raw")

    @classmethod
    def rubbish(cls, *, delay: float = 0.0) -> Self:
        """Send bytes that aren't HTTP, then close."""
        return cls.raw(b"\x00\xff\x15\x03 rubbish\r\n\r\n", delay=delay)

    @classmethod
    def interim(cls, *statuses: int, then: Reply | None = None, delay: float = 0.0) -> Reply:
        """Send interim answers (102, 103) at once, and the final one after `delay`."""
        return replace(then or cls(), early=statuses, delay=delay)


class FakeBrevo:
    """A server on 127.0.0.1; replies come from next(), else when(), else always(), else they are Brevo's behaviour.

    A planned reply skips the checks of path, key and body. A request is recorded before its reply is sent. `latency`
    precedes every reply, and may be changed. After stop(), start() serves on the same port again.

    GET /v3/account and /v3/contacts/… require `api_key`. The account is what `is_automation_on` and `account_key` say;
    the contacts are those of `identify`, and those in `blocklisted` (in lower case), which are blocklisted.
    """

    def __init__(
        self, ma_key: str | None = None, port: int = 0, latency: float = 0.0, *, api_key: str | None = None
    ) -> None:
        self._ma_key, self._port, self.latency = ma_key, port, latency
        self._api_key = api_key
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._listener: socket.socket | None = None
        self._connections: dict[threading.Thread, socket.socket] = {}
        self.reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL for trackEvent calls, correct once start() has chosen the port, and even after stop()."""
        return f"http://127.0.0.1:{self._port}{TRACK_PATH}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """A copy of the received requests, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects answered with a 2xx status, oldest first, including those of `identify`."""
        tracked = [item.json for item in self.requests if item.status and 200 <= item.status < 300]
        return [body for body in tracked if isinstance(body, dict)]

    def start(self) -> Self:
        """Listen, and return at once; a second call has no effect."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=512)
            self._listener.settimeout(0.1)
            self._port = self._listener.getsockname()[1]
            self._stopped.clear()
            self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
            self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, whatever it is waiting for; records and plans are kept."""
        if self._listener is None:
            return
        self._stopped.set()
        _shut(self._listener)  # wakes accept() on Linux; elsewhere its timeout does
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        self._hang_up(deadline=time.monotonic() + 0.5)

    def next(self, reply: Reply, *more: Reply) -> None:
        """Send these replies to the next requests, one each; another call adds to the queue."""
        with self._changed:
            self._next.extend((reply, *more))

    def always(self, reply: Reply | None) -> None:
        """Send this reply to every request without another plan, until always(None)."""
        with self._changed:
            self._always = reply

    def when(self, predicate: Callable[[dict[str, Any]], bool], *replies: Reply, repeat: bool = False) -> None:
        """Send these replies in turn to matching JSON objects, with `repeat` the last one forever; older plans first.

        If a predicate raises, its traceback is shown and the client loses the connection.
        """
        with self._changed:
            self._when.append((predicate, deque(replies), repeat))

    def reset(self) -> None:
        """Forget requests, plans and contacts; replies in progress go on."""
        with self._changed:
            self._requests: list[ReceivedRequest] = []
            self._next: deque[Reply] = deque()
            self._when: list[tuple[Callable[[dict[str, Any]], bool], deque[Reply], bool]] = []
            self._always = None
            self.is_automation_on = True
            self.account_key = self._ma_key or "anykeyoftheaccount000000"
            self.contacts: dict[str, dict[str, Any]] = {}
            self.blocklisted: set[str] = set()

    def wait_for(self, count: int, timeout: float = 5.0) -> None:
        """Block until that many requests are recorded; raise AssertionError if they don't arrive in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise AssertionError(f"expected {count} requests within {timeout} s, got {len(self._requests)}")

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            with suppress(OSError):  # most often the timeout
                sock, (_, port) = listener.accept()
                thread = threading.Thread(target=self._serve, args=(sock, port), daemon=True)
                self._connections[thread] = sock
                thread.start()

    def _serve(self, sock: socket.socket, port: int) -> None:
        try:
            with suppress(OSError), sock, sock.makefile("rb") as stream:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._exchange(sock, stream, port):
                    pass
        finally:
            del self._connections[threading.current_thread()]

    def _hang_up(self, deadline: float) -> None:
        connections = self._connections.copy()
        for sock in connections.values():
            _shut(sock)
        for thread in connections:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _exchange(self, sock: socket.socket, stream: BufferedReader, port: int) -> bool:
        method, path, version, headers = _read_head(stream)
        refusal = _refusal(headers)
        body = b"" if refusal else _read_body(stream, int(headers.get("content-length", "0")))
        reply = self._receive(ReceivedRequest(method, path, headers, body, time.monotonic(), None, port), refusal)
        wishes = (headers.get("connection", "").lower(), reply.headers.get("connection"))
        closing = version != "HTTP/1.1" or "close" in wishes
        self._send(sock, reply, _pieces(reply, closing, method == "HEAD"))
        if refusal:
            _drain(sock)
        return reply.mode == "plain" and not closing

    def _receive(self, request: ReceivedRequest, refusal: Reply | None) -> Reply:
        with self._changed:  # plans are used in the order of the recorded requests
            reply = refusal or self._planned(request) or _dated(self._usual(request))
            self._record(replace(request, status=reply.status))
            self._changed.notify_all()
        return reply

    def _record(self, request: ReceivedRequest) -> None:
        self._requests.append(request)

    def _planned(self, request: ReceivedRequest) -> Reply | None:
        if self._next:
            return self._next.popleft()
        for predicate, replies, repeats in self._when:
            if replies and isinstance(request.json, dict) and predicate(request.json):
                return replies[0] if repeats and len(replies) == 1 else replies.popleft()
        return self._always

    def _usual(self, request: ReceivedRequest) -> Reply:
        if request.path.startswith("/v3/"):
            return self._read(request)
        complain = _COMPLAINTS.get(request.path.partition("?")[0])
        if complain is None:
            return Reply.error(404, "document_not_found", "There is nothing at this path")
        if request.method != "POST":
            return Reply.error(405, "method_not_allowed", "Only POST is allowed", allow="POST")
        key = request.headers.get("ma-key")
        if not key or self._ma_key not in (None, key):
            return Reply.error(401, "unauthorized", "Key not found")
        complaint = complain(request.json)
        if request.path == IDENTIFY_PATH and not complaint:
            known = self.contacts.setdefault(request.json["email"].lower(), {})
            known.update(request.json.get("attributes", {}))
        return complaint or Reply()

    def _read(self, request: ReceivedRequest) -> Reply:
        key = request.headers.get("api-key")
        if not key or self._api_key not in (None, key):
            return Reply.error(401, "unauthorized", "Key not found")
        if request.method != "GET":
            return Reply.error(405, "method_not_allowed", "Only GET is allowed", allow="GET")
        if request.path == ACCOUNT_PATH:
            automation = {"enabled": self.is_automation_on, "key": self.account_key}
            whose = {"email": "owner@shop.example", "companyName": "A Shop"}
            return Reply.of({**whose, "plan": [{"type": "free"}], "marketingAutomation": automation})
        email = unquote(request.path.removeprefix(CONTACTS_PATH)).lower()
        if not request.path.startswith(CONTACTS_PATH) or email not in self.contacts.keys() | self.blocklisted:
            return Reply.error(404, "document_not_found", "Contact does not exist")
        attributes = self.contacts.get(email, {})
        return Reply.of({"email": email, "emailBlacklisted": email in self.blocklisted, "attributes": attributes})

    def _send(self, sock: socket.socket, reply: Reply, pieces: Iterator[bytes | float]) -> None:
        sock.sendall(b"".join(_head(Reply(status), closing=False) for status in reply.early))
        self._pause(self.latency + reply.delay)
        for piece in pieces:
            if isinstance(piece, bytes):
                sock.sendall(piece)
            else:
                self._pause(piece)
        if reply.mode == "reset":  # a linger time of 0 makes close() send RST
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pause(self, seconds: float) -> None:
        if seconds and self._stopped.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise ConnectionAbortedError("the fake stops")


def _read_head(stream: BufferedReader) -> tuple[str, str, str, dict[str, str]]:
    start = re.fullmatch(r"([A-Z]+) (\S+) (HTTP/1\.[01])\r\n", stream.readline(_CHUNK).decode("latin-1"))
    if not start:
        raise ConnectionAbortedError("the client left, or does not speak HTTP")
    headers: dict[str, str] = {}
    while (line := stream.readline(_CHUNK)) != b"\r\n":
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ConnectionAbortedError("the client left, or sends no proper headers")
        headers[name.lower()] = value.strip()
    return start[1], start[2], start[3], headers


def _read_body(stream: BufferedReader, length: int) -> bytes:
    body = stream.read(length)
    if len(body) < length:
        raise ConnectionAbortedError("the client left")
    return body


def _refusal(headers: Mapping[str, str]) -> Reply | None:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        return Reply.error(411, "length_required", "A content-length is needed", connection="close")
    if len(length) > 18 or int(length) > MAX_BODY:
        return Reply.error(413, "content_too_large", f"More than {MAX_BODY} bytes", connection="close")
    return None


def _complaint_of_event(body: Any) -> Reply | None:
    if complaint := _incomplete(body, "email", "event"):
        return complaint
    wrong = _mistyped(body, email=str, event=str, properties=dict, eventdata=dict)
    wrong = wrong or _mistyped(body.get("eventdata", {}), id=str, data=dict)
    return _invalid(wrong or [name for name in ("email", "event") if name in body.get("properties", {})])


def _complaint_of_identification(body: Any) -> Reply | None:
    return _incomplete(body, "email") or _invalid(_mistyped(body, email=str, attributes=dict))


_COMPLAINTS = {TRACK_PATH: _complaint_of_event, IDENTIFY_PATH: _complaint_of_identification}


def _dated(reply: Reply) -> Reply:
    return replace(reply, headers={**reply.headers, "date": formatdate(usegmt=True)})


def _incomplete(body: Any, *names: str) -> Reply | None:
    if not isinstance(body, dict):
        return Reply.error(400, "invalid_parameter", "The body is not a JSON object")
    missing = [name for name in names if body.get(name, "") == ""]
    return Reply.error(400, "missing_parameter", f"{' and '.join(missing)} missing") if missing else None


def _invalid(wrong: list[str]) -> Reply | None:
    return Reply.error(400, "invalid_parameter", f"{' and '.join(wrong)} invalid") if wrong else None


def _mistyped(fields: Mapping[str, Any], **types: type) -> list[str]:
    return [name for name, kind in types.items() if name in fields and not isinstance(fields[name], kind)]


def _pieces(reply: Reply, closing: bool, bodiless: bool) -> Iterator[bytes | float]:
    """Yield the bytes to send and, in between, the seconds to wait."""
    head = _head(reply, closing) if reply.status else b""
    if reply.mode == "hang":
        yield reply.amount
    elif reply.mode == "drip":
        yield head
        for byte in chain(reply.body, repeat(ord("."))):
            yield from (bytes([byte]), reply.amount)
    elif bodiless or reply.status in (204, 304):
        yield head
    else:
        yield head + reply.body
        yield from (b"." * min(left, _CHUNK) for left in range(int(reply.amount), 0, -_CHUNK))


def _head(reply: Reply, closing: bool) -> bytes:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if (reply.status or 0) >= 200 and reply.status not in (204, 304):
        headers.setdefault("content-length", str(len(reply.body)))
    if closing:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status or 0, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


def _drain(sock: socket.socket) -> None:
    """Read any remaining input: close() with unread bytes would send RST, and the client would lose the answer."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(1.0)
    while sock.recv(_CHUNK):
        pass


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _PrintingBrevo(FakeBrevo):
    def _record(self, request: ReceivedRequest) -> None:  # not stored: it may run for days
        body = request.json if isinstance(request.json, dict) else {}
        eventdata = body.get("eventdata")
        known = eventdata.get("id") if isinstance(eventdata, dict) else None
        name = "identify" if request.path == IDENTIFY_PATH else body.get("event")
        fields = [str(value or "-") for value in (request.status, name, body.get("email"), known)]
        _say("  ".join(fields).encode("unicode_escape").decode("ascii"))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM, printing one line per request."""
    parser = argparse.ArgumentParser(prog="fake_brevo", description="A fake Brevo on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8025)
    parser.add_argument("--ma-key", help="the only key accepted (default: any)")
    parser.add_argument("--api-key", help="the only key of API v3 accepted (default: any)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it otherwise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    brevo = _PrintingBrevo(options.ma_key, options.port, options.latency, api_key=options.api_key)
    with suppress(KeyboardInterrupt), brevo:
        _say(f"Set the trackEvent URL to {brevo.url}")
        threading.Event().wait()


if __name__ == "__main__":
    main()
