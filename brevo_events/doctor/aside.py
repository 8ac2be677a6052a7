from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

from brevo_events.answers import Answer
from brevo_events.exceptions import BrevoEventsError

Found = TypeVar("Found")


def aside(call: Callable[[], Found], patience: float) -> Found | Answer:
    """
    Return the result of a call made in a separate thread, or an ``Answer`` without a status if there is none.

    Whatever ends this thread, such as Ctrl-C, none of its frames has a key.
    ``patience`` is in seconds. Raises the errors of this app.
    """
    outcome: list[Found | Answer | BrevoEventsError] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BrevoEventsError as error:
            outcome.append(error)
        except Exception as error:  # noqa: BLE001 - its frames may hold a key
            outcome.append(Answer(None, f"The transport raised {type(error).__name__}.", error="transport"))
        finally:
            connections.close_all()  # a key may come from the database

    thread = threading.Thread(target=run, name="brevo-events-doctor", daemon=True)
    thread.start()
    thread.join(patience)
    if not outcome:
        return Answer(None, "Given up.", error="timeout", duration=patience)
    if isinstance(outcome[0], BrevoEventsError):
        raise outcome[0]
    return outcome[0]
