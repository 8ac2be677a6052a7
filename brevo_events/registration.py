from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import Model
from django.dispatch import Signal
from django.utils.module_loading import autodiscover_modules

from brevo_events.events import Event
from brevo_events.models import MAX_SOURCE_LENGTH
from brevo_events.tracking import capture, is_off, reject

Function = TypeVar("Function", bound=Callable[..., Event | Iterable[Event] | None])


@dataclass(frozen=True)
class Registration:
    """One ``track_on``: its function, its signals and its senders."""

    function: Callable[..., Any]
    signals: tuple[Signal, ...]
    senders: tuple[Any, ...]


registrations: list[Registration] = []


def track_on(
    signals: Signal | Iterable[Signal], *, sender: Any = None, dispatch_uid: str | None = None
) -> Callable[[Function], Function]:
    """
    Capture the events that the decorated function returns, whenever a signal is sent.

    The function gets the same arguments as a signal receiver, and returns an
    ``Event``, several, or None. Fixtures (``raw=True``) are skipped. ``sender``
    is a model, a list of models, ``"app.Model"``, or the sender of a signal of
    your own. Django compares it with the exact class that is saved, so list
    child and proxy models too. An exception in the function is raised or
    logged, depending on ``RAISE_ERRORS``; database errors always propagate.
    """
    listened = (signals,) if isinstance(signals, Signal) else tuple(signals)
    senders = tuple(sender) if isinstance(sender, list | tuple | set) else (sender,)

    def decorate(function: Function) -> Function:
        receiver = _receiver(function)
        for signal in listened:
            for each in senders:
                signal.connect(receiver, sender=each, weak=False, dispatch_uid=dispatch_uid)
        registrations.append(Registration(function, listened, senders))
        return function

    return decorate


def autodiscover() -> None:
    """Import the module ``brevo_events`` of every installed app."""
    autodiscover_modules("brevo_events")


def _receiver(function: Callable[..., Any]) -> Callable[..., None]:
    def receive(sender: Any, **kwargs: Any) -> None:
        if kwargs.get("raw") is True or is_off():
            return
        try:
            events = _as_list(function(sender=sender, **kwargs), function)
        except DatabaseError:
            # If it were swallowed inside a transaction, it would leave the transaction broken.
            raise
        except Exception as error:  # noqa: BLE001 - the project's function must not break the project's save
            reject(error, function)
            return
        using = kwargs.get("using")
        # One of the project's own signals may use that name for something else.
        changed_on = using if using in list(connections) else None
        capture(events, changed_on=changed_on, source=_source(kwargs))

    return receive


def _source(arguments: Mapping[str, Any]) -> str:
    """Return the name of the changed row: a Django signal's ``instance``, or the only row that another signal has."""
    rows = [value for value in arguments.values() if isinstance(value, Model)]
    row = arguments.get("instance", rows[0] if len(rows) == 1 else None)
    if not isinstance(row, Model) or row.pk is None:
        return ""
    name = f"{row._meta.label_lower}:{row.pk}"
    return name if len(name) <= MAX_SOURCE_LENGTH and name.isprintable() else ""


def _as_list(returned: Any, function: Callable[..., Any]) -> list[Event]:
    if returned is None:
        return []
    if isinstance(returned, Event):
        return [returned]
    events = [event for event in returned if event is not None] if isinstance(returned, Iterable) else [returned]
    if all(isinstance(event, Event) for event in events):
        return events
    raise TypeError(f"{function.__qualname__} must return an Event, several, or None.")
