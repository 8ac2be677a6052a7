"""Engines, which make delivery happen after a commit: each is a class with ``nudge()``."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from brevo_events.conf import ENGINES, settings
from brevo_events.engines.base import Engine
from brevo_events.exceptions import InvalidSetting

__all__ = ["Engine", "current", "finish", "load", "nudge", "start"]

logger = logging.getLogger(__name__)

_engines: dict[str, Engine] = {}
_making = threading.Lock()


def current() -> Engine:
    """Return the engine named in the settings, always the same instance; raises ``InvalidSetting``."""
    name = settings.ENGINE
    if name not in _engines:
        with _making:
            if name not in _engines:
                _engines[name] = _named()()
    return _engines[name]


def load() -> None:
    """Import the engine, because a task queue's worker must know its tasks. System checks report any errors."""
    with suppress(InvalidSetting):
        _named()


def start(**kwargs: object) -> None:
    """Start the engine at a request, as a receiver of ``request_started``; errors never break a page."""
    try:
        current().start()
    except Exception:
        logger.exception("The engine could not be started: events are kept until one is.")


def nudge(*, in_background: bool = False) -> None:
    """Notify the engine that events have been committed; with ``in_background``, not one that would send right here."""
    if not (in_background and current().sends_in_request):
        current().nudge()


def finish() -> None:
    """
    End delivery in this process: give back the events not yet started, and wait for the requests in flight.

    This takes at most an attempt's deadline and a few seconds. Call it in a
    process that ends without running its exit handlers; a later nudge or
    request starts delivery again.
    """
    for engine in list(_engines.values()):
        try:
            engine.finish()
        except Exception:
            logger.exception("The engine did not end cleanly: what it held is sent by another process.")


def _named() -> type[Engine]:
    return settings.class_named("ENGINE", ENGINES, Engine)
