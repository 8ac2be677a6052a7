"""What makes delivery happen after a commit: each engine is a class with ``nudge()``."""

from __future__ import annotations

import logging
import threading

from brevo_events.conf import settings
from brevo_events.engines.base import Engine

__all__ = ["ENGINES", "Engine", "current", "nudge", "start"]

logger = logging.getLogger(__name__)

ENGINES = {
    "thread": "brevo_events.engines.thread.ThreadEngine",
    "inline": "brevo_events.engines.inline.InlineEngine",
    "worker": "brevo_events.engines.base.Engine",
}

_engines: dict[str, Engine] = {}
_making = threading.Lock()


def current() -> Engine:
    """Return the engine that the settings name, the same one each time; raises ``InvalidSetting``."""
    name = settings.ENGINE
    if name not in _engines:
        with _making:
            if name not in _engines:
                _engines[name] = settings.class_named("ENGINE", ENGINES, Engine)()
    return _engines[name]


def start(**kwargs: object) -> None:
    """Start the engine at a request, as a receiver of ``request_started``; what goes wrong breaks no page."""
    try:
        current().start()
    except Exception:
        logger.exception("The engine could not be started: events are kept until one is.")


def nudge(*, in_background: bool = False) -> None:
    """Tell the engine that events have been committed; ``in_background``, not one that would send here and now."""
    if not (in_background and current().sends_in_request):
        current().nudge()
