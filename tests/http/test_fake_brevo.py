from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from brevo_events.testing.fake_brevo import IDENTIFY_PATH, MAX_BODY, TRACK_PATH, FakeBrevo, Reply

EVENT = {"email": "ada@example.com", "event": "cart_updated", "eventdata": {"id": "cart:12", "data": {"total": 3}}}
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def brevo() -> Iterator[FakeBrevo]:
    with FakeBrevo() as fake:
        yield fake


def address(brevo: FakeBrevo) -> tuple[str, int]:
    parts = urlsplit(brevo.url)
    return str(parts.hostname), int(parts.port or 0)


def connection(brevo: FakeBrevo) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(*address(brevo), timeout=2)


def exchange(conn: http.client.HTTPConnection, body: Any = EVENT, method: str = "POST", **options: Any) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"accept": "application/json", "content-type": "application/json", "ma-key": "key"}
    conn.request(method, options.get("path", TRACK_PATH), content, headers | options.get("headers", {}))
    response = conn.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def post(brevo: FakeBrevo, body: Any = EVENT, method: str = "POST", **options: Any) -> Answer:
    conn = connection(brevo)
    try:
        return exchange(conn, body, method, **options)
    finally:
        conn.close()


def raw(brevo: FakeBrevo, content: bytes | None = None) -> socket.socket:
    sock = socket.create_connection(address(brevo), timeout=2)
    body = json.dumps(EVENT).encode()
    head = f"POST {TRACK_PATH} HTTP/1.1\r\nhost: x\r\nma-key: key\r\ncontent-length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body if content is None else content)
    return sock


def read_all(sock: socket.socket) -> bytes:
    with sock:
        return b"".join(iter(lambda: sock.recv(65536), b""))


def wait_until(condition: Any) -> bool:
    deadline = time.monotonic() + 2
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(condition())


def serving_threads(brevo: FakeBrevo) -> int:
    return len(brevo._connections)


class BrevosContractTests:
    def test_an_event_is_answered_204_with_no_body_and_no_content_type(self, brevo: FakeBrevo) -> None:
        status, headers, body = post(brevo)
        assert (status, body) == (204, b"")
        assert not {"content-type", "content-length"} & headers.keys()

    @pytest.mark.parametrize(
        ("body", "code", "named"),
        [
            (b"{not json", "invalid_parameter", "JSON"),
            (b"\xff\xfe", "invalid_parameter", "JSON"),
            (b"", "invalid_parameter", "JSON"),
            (b"[" * 100_000, "invalid_parameter", "JSON"),
            (b'{"email": "a", "event": "b", "properties": {"n": NaN}}', "invalid_parameter", "JSON"),
            ([EVENT], "invalid_parameter", "JSON"),
            ({"event": "b"}, "missing_parameter", "email"),
            ({"email": "a"}, "missing_parameter", "event"),
            ({"email": "", "event": "b"}, "missing_parameter", "email"),
            ({"email": 1, "event": "b"}, "invalid_parameter", "email"),
            ({"email": "a", "event": None}, "invalid_parameter", "event"),
            (EVENT | {"properties": []}, "invalid_parameter", "properties"),
            (EVENT | {"properties": {"email": "x"}}, "invalid_parameter", "email"),
            (EVENT | {"eventdata": "x"}, "invalid_parameter", "eventdata"),
            (EVENT | {"eventdata": {"id": 12}}, "invalid_parameter", "id"),
            (EVENT | {"eventdata": {"data": []}}, "invalid_parameter", "data"),
        ],
    )
    def test_a_bad_body_is_answered_400_with_code_and_message(
        self, brevo: FakeBrevo, body: Any, code: str, named: str
    ) -> None:
        status, headers, answer = post(brevo, body)
        error = json.loads(answer)
        assert (status, headers["content-type"], error["code"]) == (400, "application/json", code)
        assert named in error["message"]
        assert brevo.events == []

    @pytest.mark.parametrize(
        "extra",
        [{}, {"unknown": 1}, {"properties": {}}, {"eventdata": {}}, {"eventdata": {"id": "x", "unknown": 1}}],
    )
    def test_optional_and_unknown_keys_are_accepted(self, brevo: FakeBrevo, extra: dict[str, Any]) -> None:
        assert post(brevo, {"email": "a", "event": "b"} | extra)[0] == 204

    def test_an_empty_key_is_answered_401(self, brevo: FakeBrevo) -> None:
        status, _, body = post(brevo, headers={"ma-key": ""})
        assert (status, json.loads(body)["code"]) == (401, "unauthorized")

    def test_a_request_without_a_key_is_answered_401(self, brevo: FakeBrevo) -> None:
        request = b"POST " + TRACK_PATH.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert read_all(raw(brevo, request)).startswith(b"HTTP/1.1 401 ")

    def test_only_the_given_key_is_accepted(self) -> None:
        with FakeBrevo(ma_key="right") as brevo:
            assert post(brevo, headers={"ma-key": "wrong"})[0] == 401
            assert post(brevo, headers={"ma-key": "right"})[0] == 204

    def test_another_method_is_answered_405(self, brevo: FakeBrevo) -> None:
        status, headers, _ = post(brevo, method="PUT")
        assert (status, headers["allow"]) == (405, "POST")

    def test_an_answer_to_head_has_no_body(self, brevo: FakeBrevo) -> None:
        answer = read_all(raw(brevo, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert answer.endswith(b"\r\n\r\n")

    def test_another_path_is_answered_404(self, brevo: FakeBrevo) -> None:
        assert post(brevo, path="/api/v2/other")[0] == 404

    @pytest.mark.parametrize("header", ["transfer-encoding: chunked", "content-length: -1", "content-length: x"])
    def test_a_request_without_a_proper_length_is_answered_411_and_closed_at_once(
        self, brevo: FakeBrevo, header: str
    ) -> None:
        started = time.monotonic()
        answer = read_all(raw(brevo, f"POST {TRACK_PATH} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n0\r\n\r\n".encode()))
        assert answer.startswith(b"HTTP/1.1 411 ")
        assert time.monotonic() - started < 0.5

    def test_a_length_beyond_all_bounds_is_answered_413(self, brevo: FakeBrevo) -> None:
        request = f"POST {TRACK_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {'9' * 9000}\r\n\r\n"
        assert read_all(raw(brevo, request.encode())).startswith(b"HTTP/1.1 413 ")

    def test_a_body_over_the_limit_is_answered_413_though_the_client_sends_all_of_it_first(
        self, brevo: FakeBrevo
    ) -> None:
        assert post(brevo, b"x" * MAX_BODY)[0] == 400
        assert post(brevo, b"x" * (MAX_BODY + 1))[0] == 413
        assert post(brevo, b"x" * (5 * MAX_BODY))[0] == 413

    def test_what_is_not_http_loses_its_connection_and_is_not_recorded(self, brevo: FakeBrevo) -> None:
        assert read_all(raw(brevo, b"\x16\x03\x01 hello\r\n")) == b""
        assert brevo.requests == []


class IdentifyTests:
    def test_is_answered_204_and_its_contact_is_known_from_then_on(self, brevo: FakeBrevo) -> None:
        body = {"email": "Ada@example.com", "attributes": {"FIRSTNAME": "Ada"}}

        assert post(brevo, body, path=IDENTIFY_PATH)[0] == 204
        assert post(brevo, {"email": "ada@example.com"}, path=IDENTIFY_PATH)[0] == 204
        assert brevo.contacts == {"ada@example.com": {"FIRSTNAME": "Ada"}}
        assert brevo.events[0] == body

    @pytest.mark.parametrize(
        ("body", "code", "named"),
        [
            (b"{not json", "invalid_parameter", "JSON"),
            ({"attributes": {}}, "missing_parameter", "email"),
            ({"email": 1}, "invalid_parameter", "email"),
            ({"email": "a", "attributes": []}, "invalid_parameter", "attributes"),
        ],
    )
    def test_a_bad_body_is_answered_400(self, brevo: FakeBrevo, body: Any, code: str, named: str) -> None:
        status, _, answer = post(brevo, body, path=IDENTIFY_PATH)

        assert (status, json.loads(answer)["code"]) == (400, code)
        assert named in json.loads(answer)["message"]
        assert brevo.contacts == {}

    def test_asks_for_the_key_and_the_method(self, brevo: FakeBrevo) -> None:
        assert post(brevo, path=IDENTIFY_PATH, headers={"ma-key": ""})[0] == 401
        assert post(brevo, method="GET", path=IDENTIFY_PATH)[0] == 405


class ApiTests:
    def read(self, brevo: FakeBrevo, path: str, key: str = "api", method: str = "GET") -> tuple[int, Any]:
        status, _, body = post(brevo, b"", method, path=path, headers={"api-key": key})
        return status, json.loads(body)

    def test_the_account_says_that_automation_is_on_and_which_key_it_has(self) -> None:
        with FakeBrevo(ma_key="ours") as brevo:
            status, account = self.read(brevo, "/v3/account")

        assert (status, account["marketingAutomation"]) == (200, {"enabled": True, "key": "ours"})

    def test_the_account_can_be_another(self, brevo: FakeBrevo) -> None:
        brevo.is_automation_on, brevo.account_key = False, "theirs"

        assert self.read(brevo, "/v3/account")[1]["marketingAutomation"] == {"enabled": False, "key": "theirs"}

        brevo.reset()
        assert self.read(brevo, "/v3/account")[1]["marketingAutomation"]["enabled"] is True

    def test_a_contact_is_unknown_known_or_blocklisted(self, brevo: FakeBrevo) -> None:
        path = "/v3/contacts/Ada%2BCart%40example.com"
        assert self.read(brevo, path)[0] == 404
        brevo.contacts["ada+cart@example.com"] = {"FIRSTNAME": "Ada"}
        status, contact = self.read(brevo, path)
        assert (status, contact["emailBlacklisted"], contact["attributes"]) == (200, False, {"FIRSTNAME": "Ada"})
        brevo.blocklisted.add("ada+cart@example.com")
        assert self.read(brevo, path)[1]["emailBlacklisted"] is True

    def test_only_the_given_key_is_accepted_and_only_get(self) -> None:
        with FakeBrevo(api_key="ours") as brevo:
            assert self.read(brevo, "/v3/account", "theirs") == (
                401,
                {"code": "unauthorized", "message": "Key not found"},
            )
            assert self.read(brevo, "/v3/account", "")[0] == 401
            assert self.read(brevo, "/v3/account", "ours")[0] == 200
            assert self.read(brevo, "/v3/account", "ours", "POST")[0] == 405
            assert self.read(brevo, "/v3/other", "ours")[0] == 404

    def test_its_answers_tell_the_time(self, brevo: FakeBrevo) -> None:
        assert "date" in post(brevo)[1]


class RecordsTests:
    def test_a_request_is_recorded_with_what_was_answered(self, brevo: FakeBrevo) -> None:
        before = time.monotonic()
        post(brevo, headers={"X-Trace": "7"})
        (request,) = brevo.requests
        assert (request.method, request.path, request.status) == ("POST", TRACK_PATH, 204)
        assert (request.headers["x-trace"], request.headers["ma-key"]) == ("7", "key")
        assert json.loads(request.body) == request.json == EVENT
        assert before < request.received_at < time.monotonic()

    def test_a_body_that_is_not_json_has_none_as_its_json(self, brevo: FakeBrevo) -> None:
        post(brevo, b"{")
        assert (brevo.requests[0].json, brevo.requests[0].body, brevo.requests[0].status) == (None, b"{", 400)

    def test_events_are_the_bodies_answered_with_2xx_in_order(self, brevo: FakeBrevo) -> None:
        brevo.when(lambda body: body["event"] == "b", Reply(status=500))
        for name in "abc":
            post(brevo, {"email": "x", "event": name})
        assert [body["event"] for body in brevo.events] == ["a", "c"]
        assert [request.json["event"] for request in brevo.requests] == ["a", "b", "c"]

    def test_the_list_of_requests_is_a_copy(self, brevo: FakeBrevo) -> None:
        brevo.requests.append("mine")  # type: ignore[arg-type]
        assert brevo.requests == []

    def test_reset_forgets_requests_and_plans(self, brevo: FakeBrevo) -> None:
        post(brevo)
        brevo.next(Reply(status=500))
        brevo.always(Reply(status=501))
        brevo.when(lambda body: True, Reply(status=502))
        brevo.reset()
        assert brevo.requests == []
        assert post(brevo)[0] == 204

    def test_many_connections_at_once_lose_no_request(self, brevo: FakeBrevo) -> None:
        brevo.next(*[Reply(status=500)] * 50)
        with ThreadPoolExecutor(100) as pool:
            statuses = list(pool.map(lambda _: post(brevo)[0], range(200)))
        assert (statuses.count(500), statuses.count(204), len(brevo.requests)) == (50, 150, 200)
        assert [request.status for request in brevo.requests] == [500] * 50 + [204] * 150
        times = [request.received_at for request in brevo.requests]
        assert times == sorted(times)


class WaitForTests:
    def test_it_returns_once_the_requests_are_there(self, brevo: FakeBrevo) -> None:
        timer = threading.Timer(0.05, lambda: [post(brevo), post(brevo)])
        timer.start()
        brevo.wait_for(2)
        assert len(brevo.requests) == 2
        timer.join()

    def test_too_few_raise_an_assertion_that_says_how_many(self, brevo: FakeBrevo) -> None:
        post(brevo)
        with pytest.raises(AssertionError, match=r"expected 3 requests within 0.05 s, got 1"):
            brevo.wait_for(3, timeout=0.05)


class PlansTests:
    def statuses(self, brevo: FakeBrevo, *events: str) -> list[int]:
        return [post(brevo, {"email": "x", "event": name})[0] for name in events]

    def test_next_gives_each_reply_once_and_then_the_normal_behaviour(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply(status=500), Reply(status=501))
        brevo.next(Reply(status=502))
        assert self.statuses(brevo, *"abcd") == [500, 501, 502, 204]

    def test_always_lasts_until_it_is_taken_back_and_next_goes_first(self, brevo: FakeBrevo) -> None:
        brevo.always(Reply(status=503))
        brevo.next(Reply(status=500))
        assert self.statuses(brevo, *"abc") == [500, 503, 503]
        brevo.always(None)
        assert self.statuses(brevo, "d") == [204]

    def test_when_gives_its_replies_in_turn_to_matching_requests_only(self, brevo: FakeBrevo) -> None:
        brevo.when(lambda body: body["event"] == "b", Reply(status=500), Reply(status=501))
        assert self.statuses(brevo, *"abbab") == [204, 500, 501, 204, 204]

    def test_when_with_repeat_keeps_giving_the_last_reply(self, brevo: FakeBrevo) -> None:
        brevo.when(lambda body: body["event"] == "b", Reply(status=500), Reply(status=501), repeat=True)
        assert self.statuses(brevo, *"bbbab") == [500, 501, 501, 204, 501]

    def test_next_goes_before_when_and_when_before_always(self, brevo: FakeBrevo) -> None:
        brevo.always(Reply(status=503))
        brevo.when(lambda body: True, Reply(status=502))
        brevo.next(Reply(status=501))
        assert self.statuses(brevo, *"abc") == [501, 502, 503]

    def test_a_plan_goes_before_the_checks_of_key_and_path(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply(status=500))
        assert post(brevo, path="/", headers={"ma-key": ""})[0] == 500

    def test_a_predicate_sees_only_json_objects(self, brevo: FakeBrevo) -> None:
        brevo.when(lambda body: "event" in body, Reply(status=500), repeat=True)
        assert [post(brevo, body)[0] for body in (b"{", ["event"], EVENT)] == [400, 400, 500]

    def test_a_predicate_that_raises_is_shown_and_closes_the_connection(
        self, brevo: FakeBrevo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: list[threading.ExceptHookArgs] = []
        monkeypatch.setattr(threading, "excepthook", shown.append)
        brevo.when(lambda body: bool(body["absent"]), Reply(status=500))
        with pytest.raises(http.client.RemoteDisconnected):
            post(brevo)
        assert wait_until(lambda: [item.exc_type for item in shown] == [KeyError])


class RepliesTests:
    def test_an_error_has_brevos_body_and_the_headers_given(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.error(400, "invalid_parameter", "no such thing", allow="x"))
        status, headers, body = post(brevo)
        assert (status, headers["content-type"], headers["allow"]) == (400, "application/json", "x")
        assert json.loads(body) == {"code": "invalid_parameter", "message": "no such thing"}

    def test_a_plain_reply_has_the_status_headers_and_body_given(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply(status=200, headers={"Content-Type": "text/html"}, body=b"<p>"))
        status, headers, body = post(brevo)
        assert (status, headers["content-type"], headers["content-length"], body) == (200, "text/html", "3", b"<p>")

    def test_a_header_given_in_capitals_replaces_the_usual_one(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply(status=200, headers={"Content-Length": "2"}, body=b"four"))
        with raw(brevo) as sock:
            assert sock.recv(1000) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nfour"

    def test_204_goes_out_without_a_body_so_the_connection_stays_in_step(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply(body=b"never sent"))
        with raw(brevo) as sock:
            assert sock.recv(1000) == b"HTTP/1.1 204 No Content\r\n\r\n"

    def test_too_many_says_when_to_come_back_only_if_told_to(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.too_many(), Reply.too_many(retry_after=7), Reply.too_many(reset=9))
        (plain, none, _), (_, after, _), (_, limits, _) = (post(brevo) for _ in range(3))
        assert plain == 429
        assert not [name for name in none if name.startswith(("retry", "x-sib"))]
        assert (after["retry-after"], "x-sib-ratelimit-reset" in after) == ("7", False)
        assert (limits["x-sib-ratelimit-reset"], limits["x-sib-ratelimit-remaining"]) == ("9", "0")
        assert "x-sib-ratelimit-limit" in limits

    def test_a_redirect_names_the_other_address(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.redirect("http://elsewhere.test/"), Reply.redirect("/x", status=308))
        answers = [post(brevo)[:2] for _ in range(2)]
        assert [(status, headers["location"]) for status, headers in answers] == [
            (302, "http://elsewhere.test/"),
            (308, "/x"),
        ]

    def test_hang_answers_nothing_and_closes_after_its_time(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.hang(0.1))
        started = time.monotonic()
        assert read_all(raw(brevo)) == b""
        assert 0.1 <= time.monotonic() - started < 1
        assert brevo.requests[0].status is None

    def test_drip_sends_the_head_byte_by_byte_without_end(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.drip(0.01))
        with raw(brevo) as sock:
            pieces = [sock.recv(100) for _ in range(10)]
        assert b"".join(pieces).startswith(b"HTTP/1.1")
        assert max(map(len, pieces)) < 5
        assert (brevo.requests[0].status, brevo.events) == (None, [])

    def test_drip_of_the_head_goes_on_after_the_status_line(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.drip(0.0))
        with raw(brevo) as sock, sock.makefile("rb") as stream:
            received = stream.read(5000)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\n" not in received

    def test_drip_in_the_body_comes_after_a_whole_head(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.drip(0.01, in_body=True))
        conn = connection(brevo)
        conn.request("POST", TRACK_PATH, b"{}")
        with conn.getresponse() as response:
            assert (response.status, response.read(3)) == (200, b"...")
        conn.close()
        assert brevo.requests[0].status == 200

    def test_reset_closes_with_a_tcp_reset(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.reset())
        with raw(brevo) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert brevo.requests[0].status is None

    def test_half_a_body_is_less_than_promised(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.half_body(503))
        with pytest.raises(http.client.IncompleteRead) as caught:
            post(brevo)
        assert caught.value.partial
        assert brevo.requests[0].status == 503

    def test_huge_sends_a_body_of_that_size_and_the_connection_stays(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.huge(3_000_001, status=400))
        conn = connection(brevo)
        status, _, body = exchange(conn)
        assert (status, len(body), exchange(conn)[0]) == (400, 3_000_001, 204)
        conn.close()

    def test_rubbish_is_not_http(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.rubbish())
        with pytest.raises(http.client.BadStatusLine) as caught:
            post(brevo)
        assert not isinstance(caught.value, http.client.RemoteDisconnected)

    def test_raw_bytes_go_out_as_they_are(self, brevo: FakeBrevo) -> None:
        brevo.next(Reply.raw(b"HTTP/1.1 200 OK\r\nx\r\n\r\n"))
        assert read_all(raw(brevo)) == b"HTTP/1.1 200 OK\r\nx\r\n\r\n"

    def test_interim_answers_come_at_once_and_the_final_one_later(self, brevo: FakeBrevo) -> None:
        final = Reply(400, {"connection": "close"}, b"no")
        brevo.next(Reply.interim(102, 103, then=final, delay=0.2))
        started = time.monotonic()
        with raw(brevo) as sock:
            early = sock.recv(65536)
            assert time.monotonic() - started < 0.2
            assert early == b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
            assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert time.monotonic() - started >= 0.2
        assert brevo.requests[0].status == 400

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(delay=0.1),
            Reply.error(400, "x", delay=0.1),
            Reply.too_many(delay=0.1),
            Reply.redirect("/", delay=0.1),
            Reply.hang(0, delay=0.1),
            Reply.drip(0.01, delay=0.1),
            Reply.half_body(delay=0.1),
            Reply.huge(1, delay=0.1),
            Reply.rubbish(delay=0.1),
            Reply.raw(b"x", delay=0.1),
        ],
    )
    def test_any_reply_can_be_delayed(self, brevo: FakeBrevo, reply: Reply) -> None:
        brevo.next(reply)
        started = time.monotonic()
        with raw(brevo) as sock:
            sock.recv(1)
        assert 0.1 <= time.monotonic() - started < 1

    def test_latency_precedes_every_answer(self) -> None:
        with FakeBrevo(latency=0.1) as brevo:
            started = time.monotonic()
            post(brevo)
            assert time.monotonic() - started >= 0.1

            brevo.latency = 0.2
            post(brevo)
            assert time.monotonic() - started >= 0.3


class ConnectionsTests:
    def test_the_clients_port_tells_them_apart(self, brevo: FakeBrevo) -> None:
        first, second = connection(brevo), connection(brevo)
        for conn in (first, second, first):
            exchange(conn)
        ports = [request.client_port for request in brevo.requests]
        assert ports[0] == ports[2] == first.sock.getsockname()[1] != ports[1] > 0
        first.close()
        second.close()

    def test_one_connection_carries_many_requests(self, brevo: FakeBrevo) -> None:
        conn = connection(brevo)
        exchange(conn)
        first = conn.sock
        assert [exchange(conn)[0] for _ in range(5)] == [204] * 5
        assert conn.sock is first
        conn.close()

    def test_small_answers_are_not_held_back(self, brevo: FakeBrevo) -> None:
        with raw(brevo) as sock:
            sock.recv(100)
            (served,) = brevo._connections.values()
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    @pytest.mark.parametrize("change", [(b"HTTP/1.1", b"HTTP/1.0"), (b"host: x", b"Connection: Close")])
    def test_it_is_closed_when_the_client_wishes_so(self, brevo: FakeBrevo, change: tuple[bytes, bytes]) -> None:
        request = f"POST {TRACK_PATH} HTTP/1.1\r\nhost: x\r\nma-key: k\r\ncontent-length: 0\r\n\r\n".encode()
        answer = read_all(raw(brevo, request.replace(*change)))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close\r\n" in answer

    def test_pipelined_requests_are_answered_in_order(self, brevo: FakeBrevo) -> None:
        first = f"GET {TRACK_PATH} HTTP/1.1\r\nhost: x\r\n\r\n"
        last = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answer = read_all(raw(brevo, (first + last).encode()))
        assert 0 <= answer.index(b"HTTP/1.1 405 ") < answer.index(b"HTTP/1.1 404 ")

    @pytest.mark.parametrize(
        "reply",
        [Reply.drip(0.001), Reply.drip(0.001, in_body=True), Reply.huge(10**12), Reply(delay=0.05), Reply.hang(0.05)],
    )
    def test_a_client_that_leaves_early_causes_no_output_and_leaves_no_thread(
        self, brevo: FakeBrevo, reply: Reply, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        shown: list[threading.ExceptHookArgs] = []
        monkeypatch.setattr(threading, "excepthook", shown.append)
        brevo.next(reply)
        sock = raw(brevo)
        brevo.wait_for(1)
        sock.close()
        assert wait_until(lambda: serving_threads(brevo) == 0)
        assert (shown, *capfd.readouterr()) == ([], "", "")

    @pytest.mark.parametrize("cut", [5, 40, 70, 95, -1])
    def test_half_a_request_is_neither_recorded_nor_shown(
        self, brevo: FakeBrevo, cut: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        shown: list[threading.ExceptHookArgs] = []
        monkeypatch.setattr(threading, "excepthook", shown.append)
        head = f"POST {TRACK_PATH} HTTP/1.1\r\nhost: x\r\nma-key: key\r\naccept: */*\r\ncontent-length: 9\r\n\r\n"
        sock = raw(brevo, (head + "{'half': 0"[:9]).encode()[:cut])
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
        assert wait_until(lambda: serving_threads(brevo) == 0)
        assert (brevo.requests, shown, *capfd.readouterr()) == ([], [], "", "")


class StopTests:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(),
            Reply(delay=60),
            Reply.hang(float("inf")),
            Reply.drip(60),
            Reply.drip(0.001),
            Reply.drip(60, in_body=True),
            Reply.huge(10**12),
        ],
    )
    def test_it_is_prompt_whatever_the_connections_wait_for(self, reply: Reply) -> None:
        brevo = FakeBrevo().start()
        brevo.always(reply)
        socks = [raw(brevo) for _ in range(5)]
        brevo.wait_for(5)
        started = time.monotonic()
        brevo.stop()
        assert time.monotonic() - started < 0.3
        assert serving_threads(brevo) == 0
        for sock in socks:
            sock.close()

    def test_after_it_nothing_listens_and_the_records_stay(self) -> None:
        with FakeBrevo() as brevo:
            post(brevo)
        with pytest.raises(ConnectionRefusedError):
            post(brevo)
        assert len(brevo.requests) == 1

    def test_a_started_fake_serves_on_the_same_port_as_before(self) -> None:
        with FakeBrevo() as brevo:
            url = brevo.url
            post(brevo)
        with brevo:
            assert (brevo.url, post(brevo)[0]) == (url, 204)

    def test_start_and_stop_may_be_called_twice(self) -> None:
        brevo = FakeBrevo()
        brevo.stop()
        with brevo.start() as same:
            assert same is brevo
            assert post(brevo)[0] == 204
        brevo.stop()

    def test_it_leaves_no_thread_behind(self) -> None:
        before = set(threading.enumerate())
        with FakeBrevo() as brevo:
            post(brevo)
        assert set(threading.enumerate()) <= before


class AddressTests:
    def test_the_url_is_on_loopback_with_the_port_given(self) -> None:
        with FakeBrevo() as first:
            port = address(first)[1]
        with FakeBrevo(port=port) as brevo:
            assert brevo.url == f"http://127.0.0.1:{port}/api/v2/trackEvent"

    def test_no_other_address_of_this_machine_is_served(self, brevo: FakeBrevo) -> None:
        with pytest.raises(OSError, match=r".+"):
            socket.create_connection(("127.0.0.2", address(brevo)[1]), timeout=0.3)
