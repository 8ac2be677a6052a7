"""What the tests of the http transport share."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress

from brevo_events import transports
from brevo_events.events import Event
from tests.conftest import KEY

BODY = Event("cart_updated", "ada@example.com").json()


def configured(settings, url, **more):
    """The http transport to a URL, with a deadline of 0.6 seconds."""
    settings.BREVO_EVENTS = {"MA_KEY": KEY, "TRANSPORT": "http", "URL": url, "TIMEOUT": 0.3, **more}
    return transports.current()


def ports(fake_brevo):
    """The client's port of each request: equal for requests of one connection."""
    return [request.client_port for request in fake_brevo.requests]


@contextmanager
def listening(serve):
    """A port of this machine, with a function that returns its only connection."""

    def accept():
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
