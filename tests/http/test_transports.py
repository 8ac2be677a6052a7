from __future__ import annotations

import gc
import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import pytest
import trustme
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from brevo_events import transports
from brevo_events.events import Event
from brevo_events.exceptions import InvalidSetting
from brevo_events.testing import FakeBrevo, Reply
from brevo_events.transports import locmem
from brevo_events.transports.console import ConsoleTransport
from brevo_events.transports.http import HttpTransport
from tests.conftest import KEY
from tests.posting import BODY, configured, ports


@pytest.fixture
def transport(fake_brevo):
    return transports.current()


class CurrentTests:
    def test_names_each_transport_shortly(self, settings):
        for name, path in transports.TRANSPORTS.items():
            settings.BREVO_EVENTS = {"TRANSPORT": name}
            assert f"{transports.transport_class().__module__}.{transports.transport_class().__name__}" == path

    def test_refuses_what_is_no_transport(self, settings):
        settings.BREVO_EVENTS = {"TRANSPORT": "collections.OrderedDict"}

        with pytest.raises(InvalidSetting, match="not a subclass of Transport"):
            transports.current()

    def test_refuses_to_send_without_a_key(self, settings):
        settings.BREVO_EVENTS = {"TRANSPORT": "http", "URL": "http://127.0.0.1:1/"}

        with pytest.raises(InvalidSetting, match="MA_KEY"):
            transports.current()

    def test_refuses_any_host_but_loopback_under_test_and_names_the_helper(self, settings):
        settings.BREVO_EVENTS = {"TRANSPORT": "http", "MA_KEY": KEY}

        with pytest.raises(InvalidSetting, match="FakeBrevo"):
            transports.current()

    def test_keeps_its_connections_while_the_settings_stay(self, fake_brevo):
        assert transports.current() is transports.current()

    def test_takes_a_new_key_at_once(self, settings, fake_brevo):
        keys = iter([KEY, "zyxwvutsrqponmlkjihgfedc"])
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MA_KEY": lambda: next(keys)}

        statuses = [transports.current().send(BODY).status for _ in range(2)]

        assert statuses == [204, 401]


class OverrideTests:
    TARGET = "staging@example.org"

    @pytest.fixture
    def _overridden(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": self.TARGET}

    @pytest.mark.parametrize("off", [None, ""])
    def test_is_not_there_where_it_is_off(self, settings, fake_brevo, off):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": off}

        assert isinstance(transports.current(), HttpTransport)
        assert transports.current().send(BODY).status == 204
        assert fake_brevo.requests[0].body == BODY.encode()

    @pytest.mark.usefixtures("fake_brevo", "_overridden")
    def test_readdresses_every_body_over_http_and_changes_nothing_else(self, fake_brevo):
        data = {"price": 0.3, "text": 'é "🛒"', "email": "ada@example.com"}
        event = Event("a", "ada@example.com", object_id="cart:1", data=data, properties={"FIRSTNAME": "Ada"})

        answer = transports.current().send(event.json())

        assert answer.status == 204
        assert fake_brevo.events == [{**event.body(), "email": self.TARGET}]
        assert fake_brevo.requests[0].headers["ma-key"] == KEY

    @pytest.mark.usefixtures("fake_brevo", "_overridden")
    def test_hands_on_what_brevo_answers(self, fake_brevo):
        fake_brevo.next(Reply.too_many(retry_after=7))

        answer = transports.current().send(BODY)

        assert (answer.status, answer.headers["retry-after"]) == (429, "7")

    @pytest.mark.usefixtures("fake_brevo", "_overridden")
    def test_keeps_the_connections_from_one_delivery_to_the_next(self, fake_brevo):
        first, second = transports.current(), transports.current()

        assert first._transport is second._transport

    def test_readdresses_what_is_kept_in_memory(self, settings):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": self.TARGET}

        transports.current().send(BODY)

        assert locmem.sent == [{"email": self.TARGET, "event": "cart_updated"}]

    def test_readdresses_what_is_printed(self, settings, capsys):
        settings.BREVO_EVENTS = {"OVERRIDE_EMAIL": self.TARGET, "TRANSPORT": "console"}

        transports.current().send(BODY)

        assert json.loads(capsys.readouterr().out) == {"email": self.TARGET, "event": "cart_updated"}

    def test_readdresses_what_a_transport_of_the_project_sends(self, settings):
        settings.BREVO_EVENTS = {
            "OVERRIDE_EMAIL": self.TARGET,
            "TRANSPORT": "tests.http.test_transports.LocmemOfTheProject",
        }

        transports.current().send(BODY)

        assert locmem.sent[0]["email"] == self.TARGET

    @pytest.mark.usefixtures("fake_brevo")
    def test_of_an_address_that_is_none_sends_nothing(self, settings, fake_brevo):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "OVERRIDE_EMAIL": "staging"}

        with pytest.raises(InvalidSetting, match="OVERRIDE_EMAIL"):
            transports.current()


class LocmemOfTheProject(locmem.LocmemTransport):
    """A transport that only a dotted path names."""


class HttpTests:
    def test_posts_the_body_with_the_headers_of_the_contract(self, fake_brevo, transport):
        answer = transport.send(BODY)

        (request,) = fake_brevo.requests
        assert (answer.status, answer.body, answer.error) == (204, "", "")
        assert (request.method, request.path) == ("POST", "/api/v2/trackEvent")
        assert request.body == BODY.encode()
        assert request.headers["ma-key"] == KEY
        assert request.headers["content-type"] == request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == "django-brevo-events/" + version("django-brevo-events")

    def test_sends_each_body_with_its_own_length(self, fake_brevo, transport):
        bodies = [Event("é" * length, "ada@example.com").json() for length in (1, 100, 3)]

        for body in bodies:
            transport.send(body)

        assert [request.body.decode() for request in fake_brevo.requests] == bodies

    def test_serves_many_threads_and_reuses_their_connections(self, fake_brevo, transport):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(transport.send, [BODY] * 80))

        assert {answer.status for answer in answers} == {204}
        assert len(set(ports(fake_brevo))) <= 8

    def test_the_body_of_a_redirect_is_not_read_however_large_it_unpacks(self, fake_brevo, transport):
        packed = gzip.compress(bytes(20_000_000)) * 20
        headers = {"location": "/elsewhere", "content-encoding": "gzip"}
        fake_brevo.next(*[Reply(302, headers, packed)] * 2)
        transport.send(BODY)
        tracemalloc.start()

        answer = transport.send(BODY)

        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (answer.status, answer.error) == (302, "")
        assert peak < 1_000_000
        assert [request.path for request in fake_brevo.requests] == ["/api/v2/trackEvent"] * 2

    @pytest.mark.parametrize(
        ("status", "location"),
        [
            (301, "/elsewhere"),
            (302, "http://[::1"),
            (303, "http://\xe9\xff.example"),
            (307, ""),
            (308, "https://a:b:c/"),
        ],
        ids=ascii,
    )
    def test_a_redirect_whose_body_never_comes_is_seen_wherever_it_leads(self, fake_brevo, settings, status, location):
        transport = configured(settings, fake_brevo.url, TIMEOUT=1)
        fake_brevo.next(Reply(status, {"location": location, "content-length": "10"}))
        began = time.monotonic()

        answer = transport.send(BODY)

        assert (answer.status, answer.error) == (status, "")
        assert time.monotonic() - began < 3
        assert len(fake_brevo.requests) == 1

    def test_the_session_keeps_no_cookies(self, fake_brevo, transport):
        for answer in range(11):
            cookies = "\r\n".join(f"set-cookie: c{answer}-{number}={'x' * 1000}; max-age=9999" for number in range(90))
            fake_brevo.next(Reply.raw(f"HTTP/1.1 400 No\r\n{cookies}\r\ncontent-length: 0\r\n\r\n".encode()))
        transport.send(BODY)
        tracemalloc.start()

        for _ in range(10):
            transport.send(BODY)

        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < 450_000
        assert all("cookie" not in request.headers for request in fake_brevo.requests)

    @pytest.mark.parametrize("status", [302, 307, 308])
    def test_never_follows_a_redirect(self, fake_brevo, transport, status):
        with FakeBrevo() as elsewhere:
            fake_brevo.next(Reply.redirect(elsewhere.url, status))

            answer = transport.send(BODY)

            assert answer.status == status
            assert elsewhere.requests == []

    def test_hands_on_the_headers_that_say_how_long_to_wait(self, fake_brevo, transport):
        fake_brevo.next(Reply.too_many(retry_after=7, reset=9))

        answer = transport.send(BODY)

        assert answer.headers == {"retry-after": "7", "x-sib-ratelimit-reset": "9"}

    def test_keeps_brevos_code_and_message(self, fake_brevo, transport):
        fake_brevo.next(Reply.error(400, "invalid_parameter", "Unknown é"))

        answer = transport.send(BODY)

        assert answer.code == "invalid_parameter"
        assert json.loads(answer.body)["message"] == "Unknown é"

    def test_cleans_the_answer_of_the_key(self, fake_brevo, transport):
        fake_brevo.next(Reply(400, body=f"bad key {KEY}".encode()))

        assert transport.send(BODY).body == "bad key [ma-key]"

    def test_finds_a_key_that_lies_across_the_limit(self, fake_brevo, transport):
        fake_brevo.next(Reply(400, body=b"x" * 1990 + KEY.encode()))

        assert KEY[:5] not in transport.send(BODY).body

    def test_takes_no_credentials_from_a_netrc_file(self, fake_brevo, settings, monkeypatch, tmp_path):
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

        configured(settings, fake_brevo.url).send(BODY)

        assert "authorization" not in fake_brevo.requests[0].headers

    def test_goes_through_the_proxy_of_the_environment(self, fake_brevo, settings, monkeypatch):
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)
        monkeypatch.setenv("https_proxy", fake_brevo.url.removesuffix("/api/v2/trackEvent"))

        configured(settings, "https://brevo.invalid/api/v2/trackEvent").send(BODY)

        (request,) = fake_brevo.requests
        assert (request.method, request.path) == ("CONNECT", "brevo.invalid:443")
        assert "ma-key" not in request.headers

    def test_shows_the_key_to_no_proxy_on_the_way_to_loopback(self, fake_brevo, settings, monkeypatch):
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with FakeBrevo() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/api/v2/trackEvent"))

            answer = configured(settings, fake_brevo.url).send(BODY)

            assert answer.status == 204
            assert proxy.requests == []

    @pytest.mark.parametrize(
        "url", ["https://*.brevo.com/x", "https://.brevo.com/x", "https://a..b/", "https://é\u3002/"]
    )
    def test_shows_the_key_in_no_frame_of_a_url_that_cannot_be_used(self, settings, monkeypatch, url):
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)

        with pytest.raises(InvalidSetting) as caught:
            answer = configured(settings, url).send(BODY)
            raise InvalidSetting(answer.body)

        app_frames = [entry for entry in caught.traceback if "brevo_events/" in str(entry.path)]
        assert all(KEY not in repr(entry.frame.f_locals) for entry in app_frames)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        "proxy", ["http://ada:secret@[::1", "http://ada:secret@:99999", "socks5://ada:secret@127.0.0.1"]
    )
    def test_a_proxy_that_cannot_be_used_is_reported_without_its_password(self, settings, monkeypatch, proxy):
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)
        monkeypatch.setenv("https_proxy", proxy)

        with pytest.raises(InvalidSetting, match=r"(?i)proxy") as caught:
            configured(settings, "https://brevo.invalid/proxy")

        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_says_which_bundle_is_missing(self, fake_brevo, settings, monkeypatch):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")

        with pytest.raises(InvalidSetting, match="FileNotFoundError"):
            configured(settings, fake_brevo.url)


class TroubleTests:
    @pytest.mark.parametrize(
        ("reply", "status", "error"),
        [
            (Reply.hang(5), None, "timeout"),
            (Reply.drip(0.05), None, "timeout"),
            (Reply.drip(0.05, in_body=True), 200, ""),
            (Reply.reset(), None, "connection"),
            (Reply.half_body(400), 400, ""),
            (Reply.huge(100_000_000), 200, ""),
            (Reply.rubbish(), None, "protocol"),
            (Reply(200), 200, ""),
            (Reply(400, body=b"<html>"), 400, ""),
            (Reply(400, body=b"\xff\xfe"), 400, ""),
        ],
        ids=["hang", "drip", "drip in body", "reset", "half", "huge", "rubbish", "empty", "no JSON", "no text"],
    )
    def test_is_an_answer_within_the_deadline(self, fake_brevo, settings, reply, status, error):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(reply)
        began = time.monotonic()

        answer = transport.send(BODY)

        assert (answer.status, answer.error) == (status, error)
        assert time.monotonic() - began < 1.5
        assert len(answer.body.encode()) <= 2000
        assert transport.send(BODY).status == 204

    def test_reads_a_huge_answer_only_up_to_the_limit(self, fake_brevo, transport):
        fake_brevo.next(Reply.huge(100_000_000))
        transport.send(BODY)
        fake_brevo.next(Reply.huge(100_000_000))
        tracemalloc.start()

        answer = transport.send(BODY)

        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(answer.body) == 2000
        assert peak < 3_000_000

    def test_a_refused_connection(self, settings):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))

            answer = configured(settings, f"http://127.0.0.1:{unused.getsockname()[1]}/").send(BODY)

        assert (answer.status, answer.error) == (None, "connection")

    def test_a_host_that_does_not_exist(self, settings, monkeypatch):
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)

        answer = configured(settings, "https://no-such-host.invalid/").send(BODY)

        assert (answer.status, answer.error) == (None, "dns")

    def test_tls_with_one_who_does_not_speak_it(self, fake_brevo, settings):
        answer = configured(settings, fake_brevo.url.replace("http:", "https:")).send(BODY)

        assert (answer.status, answer.error) == (None, "tls")


class TlsTests:
    @pytest.fixture
    def authority(self):
        return trustme.CA()

    @pytest.fixture
    def server(self, authority):
        with self.serving(authority, "localhost") as port:
            yield f"https://localhost:{port}/"

    @contextmanager
    def serving(self, authority, name):
        class Server(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        server = HTTPServer(("127.0.0.1", 0), Server)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        server.server_close()
        thread.join()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_trusts_the_bundle_of_the_environment_and_no_other(
        self, server, authority, settings, monkeypatch, tmp_path
    ):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

        errors = []
        for bundle, port_hint in (("ca.pem", 1), ("other.pem", 2)):
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / bundle))
            answer = configured(settings, server, TIMEOUT=port_hint).send(BODY)
            errors.append((answer.status, answer.error))

        assert errors == [(204, ""), (None, "tls")]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize(
        ("name", "host", "is_trusted"),
        [
            ("localhost", "localhost", True),
            ("127.0.0.1", "127.0.0.1", True),
            ("localhost", "127.0.0.1", False),
            ("127.0.0.1", "localhost", False),
            ("10.0.0.1", "127.0.0.1", False),
            ("*.example.org", "localhost", False),
        ],
    )
    def test_a_certificate_of_another_host_is_not_trusted(
        self, authority, settings, monkeypatch, tmp_path, name, host, is_trusted
    ):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))

        with self.serving(authority, name) as port:
            answer = configured(settings, f"https://{host}:{port}/").send(BODY)

        assert (answer.status, answer.error) == ((204, "") if is_trusted else (None, "tls"))

    def test_parses_the_bundle_once_for_all_connections(self, settings, fake_brevo, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        monkeypatch.setattr(ssl, "create_default_context", lambda **kwargs: pytest.fail("parsed again"))

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(transport.send, [BODY] * 8))

        assert {answer.status for answer in answers} == {204}


class TracingTests:
    @pytest.fixture
    def spans(self, monkeypatch):
        monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", ".*")
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        RequestsInstrumentor().instrument(tracer_provider=provider)
        yield exporter.get_finished_spans
        RequestsInstrumentor().uninstrument()

    def test_each_request_is_a_span_of_opentelemetry(self, fake_brevo, transport, spans):
        fake_brevo.next(Reply(), Reply.error(400, "invalid_parameter"), Reply.redirect("/elsewhere"))

        answers = [transport.send(BODY) for _ in range(3)]

        assert [answer.status for answer in answers] == [204, 400, 302]
        assert [span.attributes["http.status_code"] for span in spans()] == [204, 400, 302]
        assert [request.headers["traceparent"].split("-")[2] for request in fake_brevo.requests] == [
            f"{span.context.span_id:016x}" for span in spans()
        ]

    def test_no_span_shows_the_key(self, fake_brevo, settings, spans):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply(), Reply.reset(), Reply.raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()), Reply.hang(2))

        for _ in range(3):
            transport.send(BODY)

        assert len(spans()) == 4
        shown = "".join(span.to_json() for span in spans())
        assert "http.request.header.content_type" in shown
        assert KEY not in shown


class OtherTransportsTests:
    def test_console_prints_the_body(self, capsys):
        answer = ConsoleTransport().send(BODY)

        assert json.loads(capsys.readouterr().out) == json.loads(BODY)
        assert answer.status == 204

    def test_locmem_keeps_the_body(self):
        locmem.LocmemTransport().send(BODY)

        assert locmem.sent == [{"email": "ada@example.com", "event": "cart_updated"}]
