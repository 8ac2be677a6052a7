from __future__ import annotations

import gc
import http.client
import json
import logging
import re
import signal
import socket
import threading
import traceback
from dataclasses import replace

import pytest
import requests
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection

from brevo_events import conf, track
from brevo_events.answers import brevo_error
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent
from brevo_events.testing import Reply
from brevo_events.transports.http import HttpTransport
from tests.conftest import KEY
from tests.error_pages import error_page
from tests.posting import BODY, configured, listening

TROUBLES = {
    "hang": Reply.hang(2),
    "drip": Reply.drip(0.05),
    "reset": Reply.reset(),
    "rubbish": Reply.rubbish(),
    "half": Reply.half_body(400),
    "echo": Reply(400, body=f'{{"code": "{KEY}", "message": "key {KEY}"}}'.encode()),
    "refused": Reply.error(401, "unauthorized", f"bad key {KEY}"),
    "escaped": Reply(400, body=b'{"code": "x", "message": "%s"}' % "".join(f"\\u{ord(c):04x}" for c in KEY).encode()),
    "malformed header": Reply.raw(f"HTTP/1.1 400 No\r\nnonsense\r\nx-key: {KEY}\r\n\r\n".encode()),
    "status line": Reply.raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
}


def escaped(text, pattern="\\u{:04x}"):
    return "".join(pattern.format(ord(letter)) for letter in text)


def message(text, status=400):
    return Reply(
        status, {"content-type": "application/json"}, f'{{"code": "unauthorized", "message": "{text}"}}'.encode()
    )


def head(*lines, status="400 Bad Request", body=""):
    return Reply.raw("\r\n".join([f"HTTP/1.1 {status}", *lines, f"content-length: {len(body)}", "", body]).encode())


CHUNKED = "transfer-encoding: chunked"

ECHOES = {
    "body": Reply(400, body=f"bad key {KEY}".encode()),
    "body twice": Reply(400, body=f"{KEY}{KEY}".encode()),
    "message": message(f"bad key {KEY}!"),
    "message of a 401": message(f"bad key {KEY}!", 401),
    "message of a 200": message(f"good key {KEY}!", 200),
    "message of a 500": message(f"bad key {KEY}!", 500),
    "code": Reply.error(400, KEY, "no"),
    "other field": Reply(400, body=json.dumps({"request": {"headers": {"ma-key": KEY}}}).encode()),
    "message escaped": message(escaped(KEY)),
    "message escaped in capitals": message(escaped(KEY, "\\u{:04X}")),
    "message escaped in part": message(f"key {KEY[:9]}{escaped(KEY[9:11])}{KEY[11:]}"),
    "message escaped behind a backslash": message(f"key \\\\{escaped(KEY)}"),
    "code escaped": Reply(400, body=f'{{"code": "{escaped(KEY)}"}}'.encode()),
    "escaped across the limit": Reply(400, body=b"x" * 1900 + escaped(KEY).encode()),
    "escaped and cut within an escape": Reply(400, body=b"x" * 1897 + escaped(KEY).encode()),
    "across the limit by one": Reply(400, body=b"x" * 1977 + KEY.encode()),
    "across the limit by half": Reply(400, body=b"x" * 1988 + KEY.encode()),
    "at the limit": Reply(400, body=b"x" * 1976 + KEY.encode() + b"x" * 600),
    "many": Reply(400, body=(KEY * 1000).encode()),
    "many with spaces": Reply(400, body=f"{KEY} ".encode() * 1000),
    "many escaped": Reply(400, body=escaped(KEY * 100).encode()),
    "cut by the server": Reply(400, body=f"unknown key: {KEY[:20]}".encode()),
    "half a body": replace(Reply.half_body(400), body=KEY[:23].encode()),
    "redirect": Reply(302, {"location": f"https://example.com/?key={KEY}"}, f"to {KEY}".encode()),
    "retry-after": Reply(429, {"retry-after": f"Bearer {KEY}"}),
    "reset": Reply(429, {"x-sib-ratelimit-reset": KEY}),
    "date": Reply(503, {"date": KEY}),
    "cookie": Reply(400, {"set-cookie": f"key={KEY}"}),
    "other header": Reply(400, {"x-request": f"ma-key={KEY}", KEY: KEY}),
    "header without colon": head(f"ma-key {KEY}", f"x-more: {KEY}"),
    "header behind one without colon": head("nonsense", f"ma-key: {KEY}"),
    "header with a bad name": head(f"ma key: {KEY}", f": {KEY}"),
    "folded header": head("x-a: b", f" {KEY}", f"\t{KEY}"),
    "reason": head(status=f"400 {KEY}"),
    "status": head(status=KEY),
    "version": Reply.raw(f"{KEY} 400 Bad\r\n\r\n".encode()),
    "long status line": Reply.raw(f"{'x' * 480}{KEY}\r\n\r\n".encode()),
    "request sent back": Reply.raw(f"POST / HTTP/1.1\r\nma-key: {KEY}\r\n\r\n".encode()),
    "interim": Reply.raw(f"HTTP/1.1 103 Hints\r\nlink: {KEY}\r\n\r\nHTTP/1.1 400 No\r\n\r\n{KEY}".encode()),
    "chunk": Reply.raw(f"HTTP/1.1 400 No\r\n{CHUNKED}\r\n\r\n18\r\n{KEY}\r\n0\r\n\r\n".encode()),
    "chunk size": Reply.raw(f"HTTP/1.1 400 No\r\n{CHUNKED}\r\n\r\n{KEY}\r\n".encode()),
    "chunk extension": Reply.raw(f"HTTP/1.1 400 No\r\n{CHUNKED}\r\n\r\n2;{KEY}\r\nok\r\n0\r\n\r\n".encode()),
    "trailer": Reply.raw(f"HTTP/1.1 400 No\r\n{CHUNKED}\r\n\r\n0\r\nx: {KEY}\r\n\r\n".encode()),
    "content-length": Reply(400, {"content-length": KEY, "connection": "close"}, KEY.encode()),
    "content-encoding": Reply(400, {"content-encoding": KEY}, b"no"),
    "media type": Reply(400, {"content-type": f"text/{KEY}; charset={KEY}"}, KEY.encode()),
}


class EchoTests:
    @pytest.mark.parametrize("echo", ECHOES)
    def test_an_echo_of_the_key_is_in_no_answer_and_no_log_line(self, fake_brevo, settings, caplog, capfd, echo):
        caplog.set_level(logging.DEBUG)
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(ECHOES[echo], ECHOES[echo])

        answers = [transport.send(BODY) for _ in range(2)]

        shown = [repr(answers), caplog.text, *capfd.readouterr()]
        shown += [repr(brevo_error(answer.body)) + repr(answer.code) for answer in answers]
        assert [request.headers["ma-key"] for request in fake_brevo.requests] == [KEY, KEY]
        assert remains("".join(shown)) == []

    def test_an_answer_is_cleaned_before_it_is_cut(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        for length in range(1960, 2010):
            fake_brevo.next(Reply(400, body=b"x" * length + KEY.encode()))
            assert remains(transport.send(BODY).body) == []

    def test_cleaning_leaves_the_rest_of_an_answer_as_it_was(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        texts = ['{"message": "a \\\\u006b \\u0022 \\u005c \\n é \\u00e9"}', "C:\\users", "100 %", "ends with abc"]

        for text in texts:
            fake_brevo.next(Reply(400, body=text.encode()))
            assert transport.send(BODY).body == text

    def test_an_answer_of_a_proxy_is_cleaned_too(self, settings, monkeypatch):
        def refuse(connection):
            connection.recv(65_536)
            connection.send(f"HTTP/1.1 407 {'no ' * 155}{KEY}\r\n\r\n".encode())

        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)
        with listening(refuse) as address:
            monkeypatch.setenv("https_proxy", f"http://{address}")
            answer = configured(settings, "https://brevo.invalid/echo").send(BODY)

        assert "407 no" in answer.body
        assert remains(repr(answer)) == []


def remains(text):
    """Four letters or more of the key, plain or as JSON escapes them."""
    plain = re.sub(r"\\+u00([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    return [KEY[at : at + 4] for at in range(len(KEY) - 3) if KEY[at : at + 4] in plain]


class LibrariesTests:
    def test_libraries_log_nothing_of_the_key(self, fake_brevo, settings, caplog):
        caplog.set_level(logging.DEBUG)
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply.error(401, "unauthorized"), Reply.reset(), Reply.rubbish(), Reply.hang(2))

        answers = [transport.send(BODY) for _ in range(3)]

        assert [answer.status for answer in answers] == [401, None, None]
        assert caplog.records
        prototypes = [vars(prototype) for prototype in transport._prototypes.values()]
        assert KEY not in caplog.text + repr(answers) + repr(vars(transport)) + repr(prototypes)

    def test_no_request_is_printed_even_if_the_project_debugs_http(self, fake_brevo, settings, monkeypatch, capfd):
        monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)

        configured(settings, fake_brevo.url).send(BODY)

        assert capfd.readouterr().out == ""

    def test_tools_that_wrap_sending_see_a_request_without_the_key(self, fake_brevo, settings, monkeypatch):
        seen = []
        send = requests.Session.send

        def wrapped(self, request, **kwargs):
            seen.append((request, kwargs))
            return send(self, request, **kwargs)

        monkeypatch.setattr(requests.Session, "send", wrapped)

        assert configured(settings, fake_brevo.url).send(BODY).status == 204
        ((request, kwargs),) = seen
        assert KEY not in repr((vars(request), dict(request.headers), kwargs))


class FailureTests:
    """Whatever happens while sending is an answer, or an interrupt without the frames that contain the key."""

    PLACES = [
        (socket.socket, "connect"),
        (socket.socket, "sendall"),
        (http.client.HTTPConnection, "putheader"),
        (http.client.HTTPConnection, "send"),
        (http.client.HTTPConnection, "getresponse"),
        (http.client.HTTPResponse, "begin"),
        (http.client.HTTPResponse, "readinto"),
        (requests.adapters.HTTPAdapter, "send"),
        (requests.Session, "send"),
    ]

    @pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_shows_the_key_in_no_frame(self, fake_brevo, settings, monkeypatch, place, interrupt):
        transport = configured(settings, fake_brevo.url, TIMEOUT=5)  # no slow machine comes first
        fake_brevo.next(Reply(400, body=f"bad key {KEY}".encode()))
        fail_at(monkeypatch, place, interrupt("stop"))

        with pytest.raises(interrupt, match="stop") as caught:
            transport.send(BODY)

        assert remains(report(caught.value)) == []
        assert caught.value.__context__ is None

    def test_an_interrupt_shows_no_frame_of_what_was_being_handled(self, fake_brevo, settings, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply.raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()))
        gc.collect()  # no connection pool of an earlier test is closed from here on
        fail_at(monkeypatch, (http.client.HTTPConnection, "close"), KeyboardInterrupt())

        with pytest.raises(KeyboardInterrupt) as caught:
            transport.send(BODY)

        assert remains(report(caught.value)) == []

    def test_a_signal_shows_the_key_in_no_frame(self, fake_brevo, settings):
        def stop(*args):
            raise SystemExit(3)

        transport = configured(settings, fake_brevo.url, TIMEOUT=5)
        fake_brevo.next(Reply.hang(5))
        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(SystemExit) as caught:
                transport.send(BODY)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

        assert caught.value.code == 3
        assert remains(report(caught.value)) == []
        assert transport.send(BODY).status == 204

    @pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
    @pytest.mark.parametrize(
        "error", [ZeroDivisionError("why"), OSError("why"), UnicodeError(), Exception(KEY)], ids=repr
    )
    def test_an_error_is_an_answer(self, fake_brevo, settings, monkeypatch, place, error):
        transport = configured(settings, fake_brevo.url)
        fail_at(monkeypatch, place, error)

        answer = transport.send(BODY)

        assert isinstance(transport, HttpTransport)
        assert answer.status in (None, 204)
        assert answer.status or type(error).__name__ in answer.body or str(error) in answer.body
        assert remains(repr(answer)) == []

    def test_an_error_that_cannot_be_described_is_an_answer(self, fake_brevo, settings, monkeypatch):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError(KEY)

        transport = configured(settings, fake_brevo.url)
        for place in ((requests.Session, "send"), (http.client.HTTPConnection, "getresponse")):
            with monkeypatch.context() as patch:
                fail_at(patch, place, Mute())
                answer = transport.send(BODY)

            assert (answer.status, answer.error, answer.body) == (None, "connection", "Mute")

    def test_an_error_that_leaves_the_adapter_holds_no_frame_below_it(self, fake_brevo, settings, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        caught = []
        send = requests.Session.send

        def wrapped(self, request, **kwargs):
            try:
                return send(self, request, **kwargs)
            except Exception as error:
                caught.append(error)
                raise

        monkeypatch.setattr(requests.Session, "send", wrapped)
        fake_brevo.next(Reply.raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()))
        transport.send(BODY)

        (error,) = caught
        assert isinstance(error, requests.RequestException)
        assert error.__context__ is None
        assert remains(report(error)) == []


def fail_at(monkeypatch, place, error):
    """Let a function of a library raise, after it has done its work, in a frame that has its arguments."""
    owner, name = place
    function = getattr(owner, name)
    thread = threading.current_thread()

    def failing(*args, **kwargs):
        result = function(*args, **kwargs)
        if threading.current_thread() is not thread:  # but the fake's
            return result
        if hasattr(result, "close"):
            result.close()
        raise error

    monkeypatch.setattr(owner, name, failing)


def report(error):
    return "".join(traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True).format())


@pytest.mark.django_db(transaction=True)
class KeyTests:
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_is_in_no_row_no_log_line_and_no_admin_page(self, fake_brevo, settings, caplog, client, trouble):
        caplog.set_level(logging.DEBUG)
        settings.DEBUG = True
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline", "TIMEOUT": 0.2}
        fake_brevo.always(TROUBLES[trouble])

        event = track("cart_updated", "ada@example.com")

        client.force_login(User.objects.create_superuser("admin"))
        pages = [
            client.get("/admin/brevo_events/outboxevent/").content.decode(),
            client.get(f"/admin/brevo_events/outboxevent/{event.pk}/change/").content.decode(),
        ]
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.get(pk=event.pk).send_attempts.count() == 1
        assert KEY not in caplog.text + "".join(pages) + dump()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "http://localhost:1/"])
    def test_is_in_no_row_where_nobody_answers(self, settings, caplog, url):
        caplog.set_level(logging.DEBUG)
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "URL": url, "TRANSPORT": "http", "ENGINE": "inline", "TIMEOUT": 0.2}

        track("cart_updated", "ada@example.com")

        assert KEY not in caplog.text + dump()

    @pytest.mark.parametrize(
        "change",
        [
            {"TRANSPORT": "no.such.Transport"},
            {"URL": "http://example.com/"},
            {"TIMEOUT": "soon"},
            {"MA_KEY": KEY + "\n"},
            {"MA_KEY": KEY.encode()},
            {"MA_KEY": lambda: KEY + "é"},
        ],
        ids=["transport", "url", "timeout", "line break", "bytes", "callable"],
    )
    def test_is_on_no_error_page(self, fake_brevo, settings, change):
        settings.DEBUG = True
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline", **change}

        with pytest.raises(conf.InvalidSetting) as caught:
            track("cart_updated", "ada@example.com")

        page = error_page(caught)
        assert "InvalidSetting" in page
        assert KEY not in page

    def test_is_on_no_error_page_of_a_record_that_fails(self, fake_brevo, settings, monkeypatch):
        settings.DEBUG = True
        track("cart_updated", "ada@example.com")
        monkeypatch.setattr("brevo_events.delivery.pipeline.record", lambda attempts, notify: 1 / 0)

        with pytest.raises(ZeroDivisionError) as caught:
            deliver()

        assert KEY not in error_page(caught)


def dump():
    """Return every value of every table of the app, as text."""
    texts = []
    with connection.cursor() as cursor:
        for model in apps.get_app_config("brevo_events").get_models():
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            texts.append(repr(cursor.fetchall()))
    return "".join(texts)
