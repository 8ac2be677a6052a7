from __future__ import annotations

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from brevo_events import track
from brevo_events.delivery import deliver
from tests.conftest import KEY


@pytest.fixture
def plain_server():
    """A server that knows nothing about Brevo, and stores everything as it arrives."""
    received = []

    class Keeping(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(
                (self.requestline, list(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Keeping)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v2/trackEvent", received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.django_db(transaction=True)
class RequestTests:
    def test_is_the_one_of_brevos_documentation_part_by_part(self, plain_server, settings):
        url, received = plain_server
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "TRANSPORT": "http", "URL": url, "ENGINE": "worker"}
        added = {"currency": "EUR", "name": "Wrist watch", "type": "accessories", "price": "50.00"}

        track(
            "cart_updated",
            "ada@example.com",
            object_id="cart:1234",
            data={"added_product": [added]},
            properties={"FIRSTNAME": "Ada"},
        )
        deliver()

        ((line, headers, body),) = received
        assert line == "POST /api/v2/trackEvent HTTP/1.1"
        assert {name: value for name, value in headers if name in ("accept", "content-type", "ma-key")} == {
            "accept": "application/json",
            "content-type": "application/json",
            "ma-key": KEY,
        }
        assert body == (
            b'{"email":"ada@example.com","event":"cart_updated",'
            b'"properties":{"FIRSTNAME":"Ada"},'
            b'"eventdata":{"id":"cart:1234","data":{"added_product":['
            b'{"currency":"EUR","name":"Wrist watch","type":"accessories","price":"50.00"}]}}}'
        )

    def test_carries_numbers_as_numbers_and_leaves_out_what_is_absent(self, plain_server, settings):
        url, received = plain_server
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "TRANSPORT": "http", "URL": url, "ENGINE": "worker"}

        track("Order Completed", "josé@exämple.com", data={"total": Decimal("19.90"), "count": 3, "note": "日本"})
        deliver()

        body = received[0][2]
        assert json.loads(body) == {
            "email": "josé@exämple.com",
            "event": "Order Completed",
            "eventdata": {"data": {"total": 19.9, "count": 3, "note": "日本"}},
        }
        assert b'"total":19.9,' in body
