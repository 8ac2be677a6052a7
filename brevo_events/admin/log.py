"""The admin's log of operators' actions on events: written by the confirmation, read by the timeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from brevo_events.actions import ACTIONS
from brevo_events.models import OutboxEvent
from brevo_events.querysets import in_batches

EXPORTED = gettext_lazy("Exported.")
LOGGED_SINGLY = 100  # events; for more, the log gets a single entry
NEWEST = 10_000  # log entries that are searched, because Django has no index for those of one event
MAX_ENTRIES = 50  # of one event
MAX_READ = 500  # log entries, many of which may name only other events
SKEW = timedelta(minutes=5)  # entries have the web server's time, events the database's

_EVENTS = " Events: "
_RANGE = re.compile(r"#(\d+)(?:-#(\d+))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """An operator's action on an event, and on how many others; ``action`` is empty if it isn't one of ours."""

    at: datetime
    by: str
    text: str
    action: str = ""
    others: int = 0


def write(user: Any, said: str | Promise, pks: list[int]) -> int | None:
    """
    Log that a user changed these events: an entry for each, or a single one for more than a hundred.

    Returns the ID of an entry that names them all, or None if there is none.
    """
    if len(pks) > LOGGED_SINGLY:
        write_once(user, said, pks)
    for batch in in_batches(pks) if len(pks) <= LOGGED_SINGLY else ():
        events: Any = OutboxEvent.objects.filter(pk__in=batch).only("name")
        LogEntry.objects.log_actions(user.pk, events, CHANGE, _message(said, pks))
    newest = LogEntry.objects.filter(user_id=user.pk).order_by("-pk").values_list("pk", flat=True)
    return newest.first() if pks else None


def write_once(user: Any, said: str | Promise, pks: list[int]) -> None:
    """Log a user's action on these events in a single entry."""
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(OutboxEvent),
        object_repr=ngettext("%d event", "%d events", len(pks)) % len(pks),
        action_flag=CHANGE,
        change_message=_message(said, pks),
    )


def events_of(entry: str) -> list[int]:
    """Return the IDs of the events that an entry names; none if there is no such entry."""
    if not (entry.isascii() and entry.isdecimal() and len(entry) < 19):
        return []
    of_events = ContentType.objects.get_for_model(OutboxEvent)
    row = LogEntry.objects.filter(pk=int(entry), content_type=of_events).first()
    return [pk for first, last in _spans(row.change_message if row else "") for pk in range(first, last + 1)]


def entries_of(event: OutboxEvent) -> list[Entry]:
    """
    Return operators' actions on an event, oldest first, from the newest 10,000 log entries.

    Downloads of lists are left out: they name thousands of events, and change
    none of them.
    """
    newest = LogEntry.objects.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return []
    logged = LogEntry.objects.filter(
        Q(object_id=str(event.pk)) | Q(object_id=None),
        pk__gt=newest - NEWEST,
        content_type=ContentType.objects.get_for_model(OutboxEvent),
        action_time__gte=event.created_at - SKEW,
    )
    logged = logged.exclude(object_id=None, change_message__startswith=_untranslated(EXPORTED))
    found = [_entry(row, event) for row in logged.select_related("user").order_by("-pk")[:MAX_READ]]
    return list(filter(None, found))[:MAX_ENTRIES][::-1]


def _untranslated(said: str | Promise) -> str:
    # Like Django's own messages, stored untranslated, so that each reader gets them in their own language.
    with translation.override(None):
        return str(said)


def _message(said: str | Promise, pks: list[int]) -> str:
    text = _untranslated(said)
    return text if len(pks) == 1 else f"{text}{_EVENTS}{', '.join(_ranges(pks))}"


def _ranges(pks: Iterable[int]) -> Iterator[str]:
    for _distance, group in groupby(enumerate(sorted(pks)), lambda pair: pair[1] - pair[0]):
        run = [pk for _place, pk in group]
        yield f"#{run[0]}" if len(run) == 1 else f"#{run[0]}-#{run[-1]}"


def _spans(message: str) -> list[tuple[int, int]]:
    listed = message.partition(_EVENTS)[2]
    return [(int(first), int(last or first)) for first, last in _RANGE.findall(listed)]


def _entry(row: LogEntry, event: OutboxEvent) -> Entry | None:
    text = row.change_message.partition(_EVENTS)[0]
    spans = _spans(row.change_message)
    if row.object_id is None and not any(first <= event.pk <= last for first, last in spans):
        return None
    action = next((name for name, action in ACTIONS.items() if _untranslated(action.logged) == text), "")
    others = max(sum(last - first + 1 for first, last in spans) - 1, 0)
    is_ours = action or text == _untranslated(EXPORTED)
    shown = _(text) if is_ours else row.get_change_message()
    return Entry(row.action_time, row.user.get_username(), shown, action, others)
