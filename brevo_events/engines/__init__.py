"""What makes delivery happen after a commit: each engine is a class with ``nudge()``."""

from __future__ import annotations

from functools import lru_cache

from django.utils.module_loading import import_string

from brevo_events.conf import settings
from brevo_events.engines.base import Engine
from brevo_events.exceptions import InvalidSetting

__all__ = ["ENGINES", "Engine", "current"]

ENGINES = {
    "inline": "brevo_events.engines.inline.InlineEngine",
    "worker": "brevo_events.engines.base.Engine",
}


def current() -> Engine:
    """Return the engine that the settings name; raises ``InvalidSetting``."""
    return _engine(settings.ENGINE)


@lru_cache(maxsize=8)
def _engine(name: str) -> Engine:
    try:
        found = import_string(ENGINES.get(name, name))
    except ImportError as error:
        raise InvalidSetting(
            f"BREVO_EVENTS['ENGINE'] is {name!r}: use {', '.join(ENGINES)} or the dotted path of a class."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise InvalidSetting(f"BREVO_EVENTS['ENGINE'] is {name!r}, which is no subclass of Engine.")
    return found()
