"""Ends delivery cleanly under ASGI servers, some of which end their processes with a signal."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from brevo_events import engines
from brevo_events.conf import settings

PATIENCE = 10.0  # seconds beyond an attempt's deadline: slightly more than engines take to end

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def finish_on_shutdown(application: Application) -> Application:
    """
    Wrap an ASGI application so that delivery ends before its server's process does.

    Uvicorn and Hypercorn end a process without running its exit handlers, but
    notify the application through the protocol's ``lifespan.shutdown``. With
    several workers, Hypercorn may send SIGTERM to one that is still shutting
    down.
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            _finish_before_sigterm()
            await _Lifespan(receive, send).of(application, scope)
        else:
            await application(scope, receive, send)

    return wrapped


def _finish_before_sigterm() -> None:
    """Handle a SIGTERM that would end the process at once: finish delivery first. Keep a server's own handler."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _finish_and_die)


def _finish_and_die(number: int, frame: object) -> None:
    # In a separate thread, because the interrupted code may hold the engine's lock.
    finishing = threading.Thread(target=engines.finish, daemon=True)
    finishing.start()
    finishing.join(settings.attempt_deadline + PATIENCE)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class _Lifespan:
    """The startup and shutdown messages between a server and an application."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._heard: set[str] = set()
        self._is_answered = False

    async def of(self, application: Application, scope: Message) -> None:
        try:
            await application(scope, self._hear, self._answer)
        except Exception:
            if self._is_answered:
                raise
        if not self._is_answered:
            # The application doesn't support this protocol (Django's doesn't), so handle it here.
            for event in ("lifespan.startup", "lifespan.shutdown"):
                if event not in self._heard:
                    await self._hear()
                await self._answer({"type": f"{event}.complete"})

    async def _hear(self) -> Message:
        message = await self._receive()
        self._heard.add(message["type"])
        return message

    async def _answer(self, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            await asyncio.to_thread(engines.finish)
        self._is_answered = True
        await self._send(message)
