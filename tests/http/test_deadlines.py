from __future__ import annotations

import socket
import threading
import time

import pytest

from brevo_events.testing import Reply
from brevo_events.transports import deadlines
from brevo_events.transports.deadlines import Deadline, Deadlines
from tests.posting import BODY, configured, listening, ports


def wait_until(condition):
    ends_at = time.monotonic() + 5
    while not condition() and time.monotonic() < ends_at:
        time.sleep(0.005)
    return condition()


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name == "brevo-events-deadlines"]


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    with ours, theirs:
        yield ours, theirs


class DeadlineTests:
    def test_a_deadline_returns_the_seconds_left_up_to_a_limit(self):
        assert Deadline(60).left(3) == 3
        assert Deadline(2).left(3) == pytest.approx(2, abs=0.1)

    def test_a_deadline_that_is_over_raises(self):
        with pytest.raises(TimeoutError):
            Deadline(0).left(3)

    def test_a_cut_wakes_the_thread_that_reads(self, pair):
        deadline = Deadline(60)
        deadline.guard(pair[0])
        threading.Timer(0.05, deadline.cut).start()

        assert pair[0].recv(1) == b""
        assert deadline.is_over

    def test_a_cut_leaves_a_released_socket_alone(self, pair):
        ours, theirs = pair
        deadline = Deadline(60)
        deadline.guard(ours)

        assert deadline.release() is ours
        deadline.cut()

        theirs.send(b"x")
        assert ours.recv(1) == b"x"

    def test_a_cut_reaches_the_socket_within_a_wrapper(self, pair):
        class Wrapper:
            socket = pair[0]

        deadline = Deadline(60)
        deadline.guard(Wrapper())
        deadline.cut()

        assert pair[1].recv(1) == b""

    def test_a_cut_does_no_harm_to_a_closed_socket(self, pair):
        deadline = Deadline(60)
        deadline.guard(pair[0])
        pair[0].close()

        deadline.cut()

        assert deadline.is_over


class DeadlinesTests:
    def test_a_block_that_takes_too_long_is_cut_and_no_other(self, pair):
        late, early = Deadline(60), Deadline(0.1)
        all_deadlines = Deadlines()
        early.guard(pair[0])

        with all_deadlines.enforced(late), all_deadlines.enforced(early):
            began = time.monotonic()
            assert pair[0].recv(1) == b""

        assert time.monotonic() - began < 0.1 + 3 * deadlines.TICK
        assert (early.is_over, late.is_over) == (True, False)

    def test_the_thread_ends_after_a_while_and_starts_again(self, monkeypatch):
        monkeypatch.setattr(deadlines, "LINGER", 0.05)
        assert wait_until(lambda: not own_threads())
        all_deadlines = Deadlines()

        for _ in range(2):
            with all_deadlines.enforced(Deadline(60)):
                assert len(own_threads()) == 1
            assert wait_until(lambda: not own_threads())

    def test_deadlines_do_without_a_thread_if_none_can_be_had(self, monkeypatch):
        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)

        with Deadlines().enforced(Deadline(60)):
            pass


class AttemptTests:
    def test_an_attempt_that_connects_only_after_the_deadline_sends_nothing(self, fake_brevo, settings, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        connect = socket.socket.connect

        def slowly(self, address):
            time.sleep(0.8)
            return connect(self, address)

        monkeypatch.setattr(socket.socket, "connect", slowly)

        answer = transport.send(BODY)

        assert (answer.status, answer.error) == (None, "timeout")
        assert fake_brevo.requests == []

    def test_an_attempt_that_gets_a_name_only_after_the_deadline_connects_to_nothing(
        self, fake_brevo, settings, monkeypatch
    ):
        transport = configured(settings, fake_brevo.url)
        look_up = socket.getaddrinfo

        def slowly(*args, **kwargs):
            time.sleep(0.8)
            return look_up(*args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("connected"))

        answer = transport.send(BODY)

        assert (answer.status, answer.error) == (None, "timeout")

    def test_an_attempt_to_a_host_with_many_silent_addresses_ends_in_time(self, fake_brevo, settings, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        found = socket.getaddrinfo("127.0.0.1", 9, type=socket.SOCK_STREAM)

        def wait(self, address):
            time.sleep(self.gettimeout())
            raise TimeoutError("timed out")

        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found * 10)
        monkeypatch.setattr(socket.socket, "connect", wait)

        answer = transport.send(BODY)

        assert (answer.status, answer.error) == (None, "timeout")
        assert 0.5 < answer.duration < 0.8

    def test_an_attempt_goes_on_to_the_next_address_if_one_refuses(self, fake_brevo, settings, monkeypatch):
        transport = configured(settings, fake_brevo.url)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refusing = socket.getaddrinfo(*unused.getsockname(), type=socket.SOCK_STREAM)
        look_up = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: refusing + look_up(*args, **kwargs))

        assert transport.send(BODY).status == 204

    def test_an_attempt_whose_tls_handshake_never_ends_is_cut(self, settings):
        with listening(lambda connection: connection.recv(100_000) and time.sleep(2)) as address:
            answer = configured(settings, f"https://{address}/").send(BODY)

        assert (answer.status, answer.error) == (None, "timeout")
        assert answer.duration < 0.8

    @pytest.mark.parametrize(
        "steps",
        [[b"H", 0.1] * 20, [0.4, b"HTTP/1.1 200 OK\r\n", 0.4, b"\r\n", 1.5]],
        ids=["in its answer", "in the handshake behind it"],
    )
    def test_an_attempt_whose_proxy_stops_on_the_way_is_cut(self, settings, monkeypatch, steps):
        def serve(connection):
            connection.recv(65_536)
            for step in steps:
                time.sleep(step) if isinstance(step, float) else connection.send(step)

        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("brevo_events.transports.http.is_testing", lambda: False)
        with listening(serve) as address:
            monkeypatch.setenv("https_proxy", f"http://{address}")
            answer = configured(settings, f"https://brevo.invalid/{len(steps)}", TIMEOUT=0.5).send(BODY)

        assert (answer.status, answer.error) == (None, "timeout")
        assert 0.9 < answer.duration < 1.25

    def test_an_attempt_that_was_cut_leaves_its_connection_to_nobody(self, fake_brevo, settings):
        transport = configured(settings, fake_brevo.url)
        fake_brevo.next(Reply(), Reply.drip(0.05), Reply())

        answers = [transport.send(BODY) for _ in range(3)]

        assert [(answer.status, answer.error) for answer in answers] == [(204, ""), (None, "timeout"), (204, "")]
        first, second, third = ports(fake_brevo)
        assert first == second != third
