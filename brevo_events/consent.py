from __future__ import annotations

import logging
from inspect import isawaitable, iscoroutine
from typing import Any

from django.db import Error as DatabaseError

from brevo_events.conf import settings
from brevo_events.events import Event

logger = logging.getLogger(__name__)


def is_given(event: Event) -> bool:
    """
    Return whether the contact consents to this event, according to the project's ``CONSENT``.

    An exception in that function counts as no consent, and is logged. A database error
    propagates, because it says nothing about the contact. Raises
    ``InvalidSetting`` if the function doesn't exist.
    """
    ask = settings.consent()
    if ask is None:
        return True
    try:
        answer = ask(event)
        return not _is_asynchronous(answer) and bool(answer)
    except DatabaseError:
        raise
    except Exception:
        logger.exception("CONSENT failed for an event %s, which counts as no consent.", event.name)
        return False


def _is_asynchronous(answer: Any) -> bool:
    # A coroutine is always true, whatever it would return.
    if not isawaitable(answer):
        return False
    if iscoroutine(answer):
        answer.close()
    logger.error("CONSENT is asynchronous, which counts as no consent: set it to a plain function.")
    return True
