from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from brevo_events.testing.fake_brevo import TRACK_PATH
from tests.snippets import ROOT

EVENT = {"email": "ada@example.com", "event": "cart_updated", "eventdata": {"id": "cart:12", "data": {"total": 3}}}


def status(conn: http.client.HTTPConnection, body: Any, ma_key: str = "key") -> int:
    conn.request("POST", TRACK_PATH, body if isinstance(body, bytes) else json.dumps(body).encode(), {"ma-key": ma_key})
    response = conn.getresponse()
    response.read()
    return response.status


class FromAShellTests:
    @pytest.fixture
    def process(self) -> Iterator[subprocess.Popen[str]]:
        # -S hides the site-packages, Django's too.
        command = [sys.executable, "-S", "-m", "brevo_events.testing.fake_brevo", "--port", "0", "--ma-key", "key"]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as process:
            yield process
            process.kill()

    def port(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        return int(urlsplit(url).port or 0)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_prints_a_line_per_request_and_exits_0(
        self, process: subprocess.Popen[str], number: signal.Signals
    ) -> None:
        conn = http.client.HTTPConnection("127.0.0.1", self.port(process), timeout=2)
        evil = EVENT | {"event": "\x1b[2J\r\n\u202e\x9b", "eventdata": {}}
        statuses = [status(conn, body) for body in (EVENT, evil, b"{")]
        statuses.append(status(conn, EVENT, ma_key="other"))
        process.send_signal(number)
        out, err = process.communicate(timeout=2)
        conn.close()
        assert (statuses, process.returncode, err) == ([204, 204, 400, 401], 0, "")
        assert out.split("\n") == [
            "204  cart_updated  ada@example.com  cart:12",
            r"204  \x1b[2J\r\n\u202e\x9b  ada@example.com  -",
            "400  -  -  -",
            "401  cart_updated  ada@example.com  cart:12",
            "",
        ]
