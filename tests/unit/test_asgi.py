from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from brevo_events import engines
from brevo_events.contrib.asgi import finish_on_shutdown


@pytest.fixture
def happened(monkeypatch):
    """What happened in which order, among it that delivery was finished."""
    happened = []
    monkeypatch.setattr(engines, "finish", lambda: happened.append(("finished", threading.current_thread())))
    former = signal.getsignal(signal.SIGTERM)
    yield happened
    signal.signal(signal.SIGTERM, former)


def serve(application, happened, scope="lifespan"):
    """Play a server that starts an application, shuts it down, and hears what it answers."""
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(events)

    async def send(message):
        happened.append((message["type"], threading.current_thread()))

    asyncio.run(finish_on_shutdown(application)({"type": scope}, receive, send))
    return [name for name, _thread in happened]


async def unaware(scope, receive, send):
    raise ValueError(f"Django can only handle ASGI/HTTP connections, not {scope['type']}.")


async def unaware_but_listening(scope, receive, send):
    await receive()
    raise ValueError("no such protocol")


async def silent(scope, receive, send):
    return


async def aware(scope, receive, send):
    for event in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{event}"
        await send({"type": f"lifespan.{event}.complete"})


class FinishOnShutdownTests:
    @pytest.mark.parametrize("application", [unaware, unaware_but_listening, silent, aware])
    def test_finishes_before_the_server_learns_that_all_is_shut_down(self, happened, application):
        told = serve(application, happened)

        assert told == ["lifespan.startup.complete", "finished", "lifespan.shutdown.complete"]

    def test_does_not_hold_up_the_servers_loop(self, happened):
        serve(aware, happened)

        threads = dict(happened)
        assert threads["finished"] is not threads["lifespan.startup.complete"]

    def test_leaves_a_failure_of_the_startup_to_the_server(self, happened):
        async def failing(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed"})

        assert serve(failing, happened) == ["lifespan.startup.failed"]

    def test_hides_no_error_of_an_application_that_speaks_the_protocol(self, happened):
        async def breaking(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            serve(breaking, happened)

    def test_passes_requests_on(self, happened):
        async def answering(scope, receive, send):
            await send({"type": f"{scope['type']}.response.start"})

        assert serve(answering, happened, scope="http") == ["http.response.start"]


class SigtermTests:
    SERVER = """
import asyncio, os, signal, time
{before}
from brevo_events import engines
from brevo_events.contrib.asgi import finish_on_shutdown
engines.finish = lambda: print("finished", flush=True)

async def receive():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
    print("alive", flush=True)
    os._exit(0)

async def unaware(*arguments):
    raise ValueError

asyncio.run(finish_on_shutdown(unaware)({{"type": "lifespan"}}, receive, None))
"""

    def serve(self, before=""):
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        code = self.SERVER.format(before=before)  # imports before Django is set up, as in asgi.py
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)

    def test_that_ends_a_process_without_ceremony_lets_it_finish_first(self):
        ended = self.serve()

        assert (ended.stdout, ended.returncode) == ("finished\n", -signal.SIGTERM)

    def test_that_the_server_handles_is_left_to_it(self):
        ended = self.serve("signal.signal(signal.SIGTERM, lambda *_: print('handled', flush=True))")

        assert (ended.stdout, ended.returncode) == ("handled\nalive\n", 0)
