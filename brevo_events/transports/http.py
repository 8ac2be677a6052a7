from __future__ import annotations

import os
import time
from collections import deque
from functools import lru_cache

import requests

from brevo_events.conf import Secret, is_loopback, is_testing, settings
from brevo_events.exceptions import InvalidSetting
from brevo_events.transports.base import Answer, Transport
from brevo_events.transports.channel import Channel, Route
from brevo_events.transports.watchdog import Watchdog

IDLE_LIMIT = 30  # seconds; servers and proxies on the way drop a connection that is idle for longer


class HttpTransport(Transport):
    """
    Post events to Brevo over kept-alive connections, one for each thread that sends.

    An attempt is cut off when its deadline is over, however slowly the other
    side drips. Redirects are not followed: ``requests`` would hand the
    ``ma-key`` header to the other host.
    """

    def __init__(self, url: str, key: Secret, timeout: float, deadline: float) -> None:
        self._route = Route(url, key, timeout)
        self._deadline = deadline
        self._watchdog = Watchdog()
        self._idle: deque[Channel] = deque()

    @classmethod
    def from_settings(cls) -> HttpTransport:
        if is_testing() and not is_loopback(settings.URL):
            raise InvalidSetting(
                "Under test the http transport calls loopback only. Use brevo_events.testing.FakeBrevo and set "
                "BREVO_EVENTS['URL'] to its url, or leave TRANSPORT at 'locmem'."
            )
        if not (key := settings.ma_key()):
            raise InvalidSetting("BREVO_EVENTS['MA_KEY'] is not set: events are kept, and go out once it is.")
        try:
            return _shared(settings.URL, key, settings.TIMEOUT, settings.attempt_deadline, os.getpid())
        except (OSError, requests.RequestException) as error:
            problem = f"{type(error).__name__}: {error}"
        # Outside the except clause, so that nothing of requests is its context.
        raise InvalidSetting(f"Nothing can be sent to BREVO_EVENTS['URL'] {settings.URL!r} ({problem}).")

    def send(self, body: str) -> Answer:
        channel = self._take_channel()
        with self._watchdog.watching(channel, self._deadline):
            answer = channel.post(body)
        if channel.is_reusable:
            channel.idle_since = time.monotonic()
            self._idle.append(channel)
        else:
            channel.close()
        return answer

    def _take_channel(self) -> Channel:
        while self._idle:
            try:
                channel = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if time.monotonic() - channel.idle_since < IDLE_LIMIT:
                return channel
            channel.close()
        return Channel(self._route)


@lru_cache(maxsize=1)
def _shared(url: str, key: Secret, timeout: float, deadline: float, pid: int) -> HttpTransport:
    """Keep the connections from one delivery to the next; a forked process makes its own."""
    return HttpTransport(url, key, timeout, deadline)
