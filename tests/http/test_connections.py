from __future__ import annotations

import http.client
import os
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from brevo_events import transports
from brevo_events.testing import Reply
from brevo_events.transports import connections
from tests.posting import BODY, configured, listening, ports

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def transport(fake_brevo):
    return transports.current()


def outcome(answer):
    return answer.status, answer.error


class KeepingTests:
    def test_one_connection_carries_one_event_after_the_other(self, fake_brevo, transport):
        fake_brevo.next(Reply(), Reply.error(400, "invalid_parameter"), Reply(200, body=b"ok"), Reply.redirect("/x"))

        for _ in range(5):
            transport.send(BODY)

        assert len(set(ports(fake_brevo))) == 1

    def test_a_connection_that_was_idle_for_long_is_replaced(self, fake_brevo, transport, monkeypatch):
        transport.send(BODY)
        monkeypatch.setattr(connections, "IDLE_LIMIT", 0.05)
        transport.send(BODY)
        time.sleep(0.1)

        assert transport.send(BODY).status == 204
        first, second, third = ports(fake_brevo)
        assert first == second != third

    def test_a_connection_is_kept_for_each_sender_thread(self, fake_brevo, transport):
        fake_brevo.always(Reply(delay=0.2))
        with ThreadPoolExecutor(40) as pool:
            for _ in range(2):
                answers = list(pool.map(transport.send, [BODY] * 40))

        assert {answer.status for answer in answers} == {204}
        assert len(set(ports(fake_brevo))) == 40

    def test_a_forked_process_makes_its_own_connections(self, fake_brevo, transport, monkeypatch):
        transport.send(BODY)
        monkeypatch.setattr(os, "getpid", lambda: -1)

        transports.current().send(BODY)

        first, second = ports(fake_brevo)
        assert first != second

    def test_threads_share_neither_cookies_nor_redirects(self, fake_brevo, transport):
        fake_brevo.when(lambda body: True, *[Reply(302, {"location": "/x", "set-cookie": "a=b"})] * 20)

        with ThreadPoolExecutor(8) as pool:
            statuses = [answer.status for answer in pool.map(transport.send, [BODY] * 80)]

        assert (statuses.count(302), statuses.count(204)) == (20, 60)
        assert all("cookie" not in request.headers for request in fake_brevo.requests)


class LostConnectionTests:
    """The server may close a kept connection just when the next event is sent over it."""

    @pytest.mark.parametrize("loss", [Reply.reset(), Reply.hang(0), Reply.reset(delay=0.1)], ids=["RST", "FIN", "late"])
    def test_a_kept_connection_that_breaks_is_replaced_at_once(self, fake_brevo, transport, loss):
        fake_brevo.next(Reply(), loss, Reply())

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(204, ""), (204, "")]
        first, second, third = ports(fake_brevo)
        assert first == second != third

    def test_a_broken_connection_is_replaced_once_only(self, fake_brevo, transport):
        fake_brevo.next(Reply(), Reply.reset(), Reply.reset())

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(204, ""), (None, "connection")]
        assert len(fake_brevo.requests) == 3

    def test_a_broken_connection_is_replaced_by_a_new_one_not_by_another_kept_one(
        self, fake_brevo, transport, monkeypatch
    ):
        fake_brevo.next(*[Reply(delay=0.1)] * 2)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(transport.send, [BODY] * 2))
        fake_brevo.next(Reply.reset())
        put = connections._PlainPool._put_conn

        def put_where_it_is_not_next(pool, connection):
            put(pool, connection)
            waiting = sorted(pool.pool.queue, key=lambda connection: connection is not None)
            pool.pool.queue.clear()
            pool.pool.queue.extend(waiting)

        monkeypatch.setattr(connections._PlainPool, "_put_conn", put_where_it_is_not_next)

        assert transport.send(BODY).status == 204
        assert ports(fake_brevo)[2] in ports(fake_brevo)[:2]
        assert ports(fake_brevo)[3] not in ports(fake_brevo)[:2]

    @pytest.mark.parametrize(
        "loss",
        [Reply.raw(b"H"), Reply.raw(b"HTTP/1.1 2"), Reply.raw(b"HTTP/1.1 100 Continue\r\n\r\n"), Reply.rubbish()],
        ids=["one byte", "half a line", "interim", "rubbish"],
    )
    def test_a_connection_that_breaks_after_a_byte_of_the_answer_is_a_failure(self, fake_brevo, transport, loss):
        fake_brevo.next(Reply(), loss)

        answers = [transport.send(BODY) for _ in range(2)]

        assert [answer.status for answer in answers] == [204, None]
        assert answers[1].error in ("connection", "protocol")
        assert len(fake_brevo.requests) == 2

    def test_a_new_connection_that_breaks_is_a_failure(self, fake_brevo, transport):
        fake_brevo.next(Reply.reset())

        assert outcome(transport.send(BODY)) == (None, "connection")
        assert len(fake_brevo.requests) == 1

    def test_a_kept_connection_that_stays_silent_is_a_failure(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply(), Reply.hang(2))

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(204, ""), (None, "timeout")]
        assert len(fake_brevo.requests) == 2

    def test_both_connections_of_an_attempt_share_its_deadline(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply(), Reply.reset(delay=0.25), Reply.drip(0.05))
        transport.send(BODY)

        answer = transport.send(BODY)

        assert outcome(answer) == (None, "timeout")
        assert len(fake_brevo.requests) == 3
        assert 0.5 < answer.duration < 0.8

    def test_connections_that_break_in_many_threads_are_replaced(self, fake_brevo, transport):
        fake_brevo.next(*[Reply(delay=0.1)] * 8, *[Reply.reset()] * 8)

        with ThreadPoolExecutor(8) as pool:
            answers = [answer for _ in range(2) for answer in pool.map(transport.send, [BODY] * 8)]

        assert {outcome(answer) for answer in answers} <= {(204, ""), (None, "connection")}
        assert len(fake_brevo.events) == sum(answer.status == 204 for answer in answers) >= 12


class InterimAnswerTests:
    @pytest.mark.parametrize(
        "statuses", [(103,), (102,), (100,), (102, 103, 103), (100, 102, 100), (101, 199)], ids=str
    )
    @pytest.mark.parametrize("delay", [0, 0.1])
    def test_interim_answers_are_skipped_so_that_each_event_gets_its_own(self, fake_brevo, transport, statuses, delay):
        refused = Reply.error(400, "invalid_parameter")
        fake_brevo.next(
            Reply.interim(*statuses, delay=delay), Reply.interim(*statuses, then=refused, delay=delay), Reply(201)
        )

        answers = [transport.send(BODY) for _ in range(3)]

        assert [answer.status for answer in answers] == [204, 400, 201]
        assert answers[1].code == "invalid_parameter"
        assert len(set(ports(fake_brevo))) == 1

    def test_an_interim_answer_alone_is_no_answer(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply.interim(103, delay=5), Reply(400))

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(None, "timeout"), (400, "")]

    def test_interim_answers_without_end_are_cut_off(self, settings):
        def serve(connection):
            connection.recv(65_536)
            for _ in range(100):
                connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
                time.sleep(0.02)

        with listening(serve) as address:
            answer = configured(settings, f"http://{address}/").send(BODY)

        assert outcome(answer) == (None, "timeout")
        assert answer.duration < 0.8


class BodilessAnswerTests:
    @pytest.mark.parametrize(
        "headers",
        [{"content-length": "2"}, {"transfer-encoding": "chunked"}, {"transfer-encoding": "gzip"}],
        ids=lambda headers: "-".join(*headers.items()),
    )
    @pytest.mark.parametrize("status", [204, 304])
    def test_a_204_that_announces_a_body_counts_and_ends_its_connection(self, fake_brevo, transport, status, headers):
        fake_brevo.next(Reply(status, headers), Reply(400))
        began = time.monotonic()

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(status, ""), (400, "")]
        assert time.monotonic() - began < 0.5
        assert len(set(ports(fake_brevo))) == 2

    def test_a_204_that_announces_no_body_keeps_its_connection(self, fake_brevo, transport):
        fake_brevo.next(Reply(204, {"content-length": "0"}), Reply(204))

        for _ in range(3):
            transport.send(BODY)

        assert len(set(ports(fake_brevo))) == 1

    def test_the_late_body_of_a_204_spoils_no_other_answer(self, settings):
        def serve(connection):
            connection.recv(65_536)
            connection.send(b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n")
            time.sleep(0.2)
            connection.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n\r\n")

        with listening(serve) as address:
            transport = configured(settings, f"http://{address}/")
            assert outcome(transport.send(BODY)) == (204, "")
            assert transport.send(BODY).status != 400


class BrokenBodyTests:
    @pytest.mark.parametrize(
        "rest",
        [
            b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\n-99999999999999999999\r\nhello\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\nsoon\r\nhello\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\n\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\n" + b"f" * 70_000,
            b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffffffff\r\nhello",
            b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
            b"content-length: 5\r\ncontent-length: 7\r\n\r\nhello",
            b"content-length: 5, 7\r\n\r\nhello",
            b"content-length: -5\r\n\r\nhello",
            b"content-length: many\r\n\r\nhello",
            b"content-length: 99999999999999999999999\r\n\r\nhello",
            b"content-encoding: gzip\r\n\r\nno gzip",
            b"nonsense\r\ncontent-length: 2\r\n\r\nok",
        ],
        ids=lambda rest: ascii(rest)[2:60],
    )
    def test_a_broken_body_leaves_the_status_to_count(self, fake_brevo, transport, rest):
        fake_brevo.next(Reply.raw(OK + rest))

        answers = [transport.send(BODY) for _ in range(2)]

        assert [outcome(answer) for answer in answers] == [(200, ""), (204, "")]

    @pytest.mark.parametrize(
        "error", [ValueError, OSError, http.client.IncompleteRead(b""), urllib3.exceptions.DecodeError], ids=repr
    )
    def test_an_error_while_reading_leaves_the_status_to_count(self, fake_brevo, transport, monkeypatch, error):
        def fail(*args):
            raise error

        monkeypatch.setattr(connections._Response, "read", fail)
        fake_brevo.next(Reply(400, body=b"hello"))

        assert outcome(transport.send(BODY)) == (400, "")

    @pytest.mark.parametrize("size", [b"-1", b"-2", b"fffffff"])
    def test_a_false_chunk_size_takes_no_memory(self, fake_brevo, transport, size):
        flood = Reply.raw(OK + b"transfer-encoding: chunked\r\n\r\n" + size + b"\r\n" + b"x" * 50_000_000)
        fake_brevo.next(flood, flood)
        transport.send(BODY)
        tracemalloc.start()

        answer = transport.send(BODY)

        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert outcome(answer) == (200, "")
        assert peak < 1_000_000

    def test_chunks_are_read_to_their_end(self, fake_brevo, transport):
        chunks = b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nz: trailer\r\n\r\n"
        fake_brevo.next(Reply.raw(OK + chunks))

        assert transport.send(BODY).body == "hello"


class HandingOnTests:
    def test_a_deadline_that_is_over_does_not_hit_the_next_attempt_on_its_connection(
        self, fake_brevo, transport, monkeypatch
    ):
        attempts = []

        class Noted(connections.Attempt):
            def __init__(self, *args):
                super().__init__(*args)
                attempts.append(self)

        monkeypatch.setattr("brevo_events.transports.client.Attempt", Noted)
        fake_brevo.next(Reply(), Reply(delay=0.2))
        transport.send(BODY)
        threading.Timer(0.1, attempts[0].cut).start()

        assert transport.send(BODY).status == 204
        assert len(set(ports(fake_brevo))) == 1
