"""The example shop in a separate process, as ``make shop`` starts it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "example_project"
EVENTS = "/admin/brevo_events/outboxevent/"
OVERVIEW = f"{EVENTS}overview/"
SETUP = f"{EVENTS}setup/"
PATIENCE = 30  # seconds
RELOADS_FOR = 15  # seconds
LINK = re.compile(r"^Admin: (\S+) ", re.MULTILINE)

# An event that would neither be held up nor skipped if it were resent.
UNFETTERED = """
    NOT EXISTS (SELECT 1 FROM brevo_events_outboxevent AS newer WHERE newer.contact = event.contact
        AND newer.object_id = event.object_id AND newer.id > event.id)
    AND NOT EXISTS (SELECT 1 FROM brevo_events_outboxevent AS waiting WHERE waiting.contact = event.contact
        AND waiting.status = 'pending' AND waiting.id <> event.id)
"""


class Shop:
    """A shop that serves; ``url`` has no slash at its end."""

    def __init__(self, database, url, log):
        self._database, self.url, self._log = database, url, log

    @property
    def link(self):
        """The latest link to the admin in the terminal."""
        return LINK.findall(self._log.read_text())[-1]

    def python(self, code):
        """Run Python in the shop's project, next to the shop."""
        manage(self._database, "shell", "-v0", "-c", code)

    def event(self, status, number=0, where="TRUE"):
        """Return the ID of an event in the history, counted from the newest: not erased, and refused if it failed."""
        # One that waits does so for a retry; few of the cancelled ones were ever tried.
        found = self._rows(
            "SELECT id FROM brevo_events_outboxevent AS event WHERE status = ? AND email LIKE '%@example.%'"
            " AND (attempts > 0 OR status = 'cancelled') AND (response_code = 400 OR status <> 'failed')"
            f" AND {where} ORDER BY id DESC LIMIT 1 OFFSET ?",
            status,
            number,
        )
        return found[0][0]

    def resendable(self, number=0):
        """Return the ID of a failed event that would be sent at once if it were resent."""
        return self.event("failed", number, UNFETTERED)

    def order(self):
        """Return the ID of the newest order that Brevo has accepted, and whose cart was reported before it."""
        found = self._rows(
            "SELECT json_extract(body, '$.eventdata.data.id') FROM brevo_events_outboxevent AS event"
            " WHERE name = 'order_completed' AND status = 'sent' AND email LIKE '%@example.%' AND EXISTS"
            " (SELECT 1 FROM brevo_events_outboxevent AS cart WHERE cart.object_id = event.object_id"
            " AND cart.name = 'cart_updated' AND cart.status = 'sent' AND cart.id < event.id) ORDER BY id DESC LIMIT 1"
        )
        return found[0][0]

    def superseded(self):
        """Return the ID and address of the newest superseded event."""
        query = (
            "SELECT id, email FROM brevo_events_outboxevent WHERE reason = 'superseded' AND email LIKE '%@example.%'"
        )
        return self._rows(f"{query} ORDER BY id DESC LIMIT 1")[0]

    def newest(self, email):
        """Return the ID of the newest event of an address."""
        return self._rows("SELECT MAX(id) FROM brevo_events_outboxevent WHERE email = ?", email)[0][0]

    def failure(self):
        """Return the fingerprint of the largest group of failures."""
        groups = "SELECT failure FROM brevo_events_outboxevent WHERE failure IS NOT NULL GROUP BY failure"
        return self._rows(f"{groups} ORDER BY COUNT(*) DESC LIMIT 1")[0][0]

    def status(self, pk):
        """Return the status of an event."""
        return self._rows("SELECT status FROM brevo_events_outboxevent WHERE id = ?", pk)[0][0]

    def _rows(self, query, *arguments):
        with closing(sqlite3.connect(self._database, timeout=20)) as connection:
            return connection.execute(query, arguments).fetchall()


def reload_until(page, is_true):
    """Reload a page until a function returns something true: some figures may be ten seconds old."""
    end = time.monotonic() + RELOADS_FOR
    while not is_true() and time.monotonic() < end:
        page.wait_for_timeout(200)
        page.reload()


def write_history(database):
    """Make a database with the month of sample history, for shops to begin with."""
    manage(database, "migrate", "-v0")
    manage(database, "shell", "-v0", "-c", "from shop.stage import sample; sample.write()")


@contextmanager
def serving(folder, history=None):
    """Start a shop on a copy of that history, or on one of its own, and stop it at the end."""
    database, log = folder / "shop.sqlite3", folder / "shop.log"
    if history:
        shutil.copy(history, database)
        _put_off(database)
    port = _free_port()
    with log.open("w") as output:
        arguments = [sys.executable, "-u", "manage.py", "shop", "--port", str(port)]
        server = subprocess.Popen(arguments, cwd=EXAMPLE, env=_environment(database), stdout=output, stderr=output)
    try:
        _wait_for(server, log, port)
        yield Shop(database, f"http://127.0.0.1:{port}", log)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def manage(database, *arguments):
    """Run a command of the shop's project."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=EXAMPLE, env=_environment(database), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _environment(database):
    kept = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "BREVO_MA_KEY")}
    return {**kept, "DATABASE_URL": f"sqlite:///{database}"}


def _put_off(database):
    # A history that was written a while ago would start with a burst of the events that are due by now.
    with closing(sqlite3.connect(database)) as connection, connection:
        query = "UPDATE brevo_events_outboxevent SET due_at = datetime('now', '+1 hour') WHERE status = 'pending'"
        connection.execute(query)


def _wait_for(server, log, port):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with closing(socket.socket()) as probe:
            if "Quit the server" in log.read_text() and probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"The shop did not start.\n{log.read_text()}")


def _free_port():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
