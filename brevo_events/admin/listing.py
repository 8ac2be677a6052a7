"""The parts of the list's page around its rows: tabs, filters, buttons, and the text of an empty list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.actions import ACTIONS
from brevo_events.admin.changelist import EventList
from brevo_events.admin.charts import number
from brevo_events.admin.finding import finding
from brevo_events.admin.matches import MOST, Total
from brevo_events.admin.nothing import nothing, search_help
from brevo_events.admin.permissions import may_act, may_export, may_see_contacts
from brevo_events.admin.question import (
    ALL,
    ANSWERS,
    BATCH,
    CAPTURED,
    ENDED,
    FAILED,
    FAILURE,
    FINISHED,
    FROM,
    NAME,
    RESPONSE,
    SPAN,
    STATUS,
    TABS,
    TO,
    WAITING,
    WHEN,
    Question,
)
from brevo_events.admin.rows import rows_of
from brevo_events.admin.slowest import slowest
from brevo_events.admin.spans import PRESETS, field_of
from brevo_events.failures import words_of
from brevo_events.times import clock, day

MAX_NAMES = 30
NAMED = 1000  # events whose names are offered, because a DISTINCT over all events would read every row


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab: the events of a status, and how many there are."""

    label: str
    link: str
    total: str
    is_current: bool
    is_alarming: bool


@dataclass(frozen=True, slots=True)
class Bulk:
    """A button for all matching events: an action, and the list it applies to."""

    action: str
    label: str
    link: str


def page(events: EventList, request: HttpRequest) -> dict[str, Any]:
    """Return the context of the list's page."""
    asked, shows_contact, now = events.asked, may_see_contacts(request), timezone.now()
    shows_end = bool(asked.finished) or asked.status in ENDED
    names, visible = _names(events), events.root_queryset
    return {
        "asked": asked,
        "rows": rows_of(events.result_list, visible, now, shows_contact=shows_contact, shows_end=shows_end),
        "moment_label": _("Finished") if shows_end else _("Captured"),
        "tabs": _tabs(events),
        "fields": _fields(asked, names),
        "zone": timezone.get_current_timezone_name(),
        "search_help": search_help(shows_contact=shows_contact),
        "searched": _searched(events),
        "asked_in_words": _in_words(asked),
        "failure": _failure(asked, shows_contact=shows_contact) if asked.failure else None,
        "all_link": asked.link(**{BATCH: ""}) if asked.batch else "",
        "finding": finding(events.result_list, asked.term),
        "slowest": slowest(events.found, asked),
        "nothing": None if events.result_list else nothing(events, names, shows_contact=shows_contact),
        "bulks": _bulks(events, request),
        "export": _export(events, request),
        "clear_link": Question(status=asked.status, kept=asked.kept).link() if asked.is_narrowed else "",
    }


def total_of(total: Total) -> str:
    """Write a total, with a plus sign if there may be more."""
    return number(total.count) + ("+" if total.is_more else "")


def _tabs(events: EventList) -> list[Tab]:
    return [
        Tab(
            label=str(label),
            link=events.asked.link(**{STATUS: tab}),
            total=total_of(events.totals[tab]),
            is_current=tab == events.asked.status,
            is_alarming=tab == FAILED and events.totals[tab].count > 0,
        )
        for tab, label in TABS.items()
    ]


def _names(events: EventList) -> list[str]:
    newest = events.root_queryset.order_by("-pk").values_list("name", flat=True)[:NAMED]
    names = sorted(set(newest))[:MAX_NAMES]
    asked = events.asked.name
    return names if not asked or asked in names else [*names, asked]


def _fields(asked: Question, names: Sequence[str]) -> dict[str, Any]:
    return {
        "hidden": {STATUS: asked.status, FAILURE: asked.failure, BATCH: asked.batch, **asked.kept},
        "names": [("", _("Any event"), not asked.name), *((name, name, name == asked.name) for name in names)],
        "answers": [
            ("", _("Any answer"), not asked.response),
            *((code, label, code == asked.response) for code, label in ANSWERS.items()),
        ],
        "whens": [
            (CAPTURED, _("Captured"), asked.when == CAPTURED),
            (FINISHED, _("Finished"), asked.when == FINISHED),
        ],
        "presets": [(name, label, name == asked.preset) for name, label in PRESETS.items()],
        "start": field_of(asked.span.start),
        "end": field_of(asked.span.end),
        "search": SEARCH_VAR,
        **{f"{key}_name": key for key in (NAME, RESPONSE, WHEN, FROM, TO, SPAN)},
    }


def _in_words(asked: Question) -> list[str]:
    """Return what the fields of the form say, for paper, on which there is no form."""
    moment = _("Finished") if asked.finished else _("Captured")
    ends = [f"{day(end)}, {clock(end)}" if end else "" for end in (asked.span.start, asked.span.end)]
    parts = [
        f"“{asked.term}”" if asked.term else "",
        asked.name,
        str(ANSWERS.get(asked.response, "")),
        f"{moment}: {' – '.join(ends).strip()}" if asked.span else "",
    ]
    return [part for part in parts if part]


def _failure(asked: Question, *, shows_contact: bool) -> tuple[str, str]:
    """Return the words for the shown group of failures, and the link that shows all events again."""
    return words_of(asked.failure, with_message=shows_contact), asked.link(**{FAILURE: ""})


def _searched(events: EventList) -> str:
    if events.found.searched is None:
        return ""
    count = number(events.found.searched)
    if events.asked.failure:
        return _("Only the newest %s of these failures are searched.") % count
    if events.asked.captured:
        return _("Only the newest %s events of this span are searched.") % count
    return _("Only the newest %s events of this tab are searched.") % count


def _bulks(events: EventList, request: HttpRequest) -> list[Bulk]:
    tab = FAILED if events.asked.status == ALL else events.asked.status
    action = ACTIONS["cancel" if tab == WAITING else "resend"]
    total = events.totals[tab]
    if events.is_popup or not total.count or not may_act(request, action):
        return []
    return [Bulk(action.name, _bulk_label(tab, total), events.asked.link(**{STATUS: tab}))]


def _bulk_label(tab: str, total: Total) -> str:
    count = number(total.count)
    if total.count == MOST:
        return (_("Cancel the first %s…") if tab == WAITING else _("Resend the newest %s…")) % count
    if tab == WAITING:
        return ngettext("Cancel %s waiting event…", "Cancel all %s waiting…", total.count) % count
    if tab == FAILED:
        return ngettext("Resend %s failed event…", "Resend all %s failed…", total.count) % count
    return ngettext("Resend %s event…", "Resend all %s…", total.count) % count


def _export(events: EventList, request: HttpRequest) -> tuple[str, str] | None:
    """Return the query string of the file, and a description of its contents."""
    if events.is_popup or not events.total.count or not may_export(request):
        return None
    count = events.total.count
    label = ngettext("Download %s event as CSV", "Download %s events as CSV", count) % number(count)
    return events.asked.link(), label
