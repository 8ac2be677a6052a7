from __future__ import annotations

import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY
from tests.serving import environment, serving, statuses
from tests.waiting import wait_until

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture
def brevo():
    with FakeBrevo(ma_key=KEY, latency=0.01) as brevo:
        yield brevo


@pytest.fixture
def served(brevo, tmp_path):
    """The shop's address, its server process and its database, served by four preloaded workers."""
    database = tmp_path / "shop.sqlite3"
    options = ["--workers=4", "--preload", "--bind=127.0.0.1:{port}", "--log-level=error", "--graceful-timeout=10"]
    with serving(environment(database, brevo), "gunicorn", *options, "tests.gunicorn_app:application") as served:
        yield *served, database


def shop(address, number):
    """Sign in and change the cart nine times; returns which processes answered, with their threads."""
    session, told = requests.Session(), []

    def visit(method, path, **fields):
        for _ in range(20):
            try:
                response = session.request(method, address + path, data=fields, timeout=10, allow_redirects=False)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert response.status_code in (200, 302), response.text[:500]
        told.append(response.headers["x-threads"])
        return TOKEN.search(response.text)

    token = visit("GET", "/account/")[1]
    visit("POST", "/account/", csrfmiddlewaretoken=token, first_name="V", email=f"v{number}@example.com")
    token = visit("GET", "/products/minuit-watch/")[1]
    for quantity in range(1, 8):
        visit("POST", "/cart/add/", csrfmiddlewaretoken=token, product="minuit-watch", quantity=quantity)
    return told


class GunicornTests:
    def test_each_process_has_one_thread_and_each_event_goes_out_once_at_most(self, served, brevo):
        address, server, database = served

        with ThreadPoolExecutor(4) as pool:
            first = list(pool.map(lambda number: shop(address, number), range(10)))
            server.send_signal(signal.SIGHUP)
            second = list(pool.map(lambda number: shop(address, number), range(10, 20)))

        wait_until(lambda: set(statuses(database)) == {"sent", "cancelled"})
        told = {line for lines in first + second for line in lines}
        assert {line.partition(":")[2] for line in told} <= {"0", "1"}
        assert len({line.partition(":")[0] for line in told}) > 4
        # A cart is told of once every two seconds at most: the newest event goes out for the others.
        ended, sent = statuses(database), Counter(request.body for request in brevo.requests)
        assert ended["sent"] + ended["cancelled"] == 160
        assert len(brevo.requests) == ended["sent"] < 160
        assert set(sent.values()) == {1}
        last = {
            body["email"]: body["eventdata"]["data"]["items"][0]["quantity"] for body in brevo.events if "event" in body
        }
        assert last == {f"v{number}@example.com": 28 for number in range(20)}
