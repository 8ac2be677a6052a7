"""The text of an empty list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events.admin.changelist import EventList
from brevo_events.admin.charts import number
from brevo_events.admin.question import ACCEPTED, ALL, CANCELLED, FAILED, NOT_NEEDED, STATUS, WAITING, Question
from brevo_events.conf import settings
from brevo_events.exceptions import InvalidSetting
from brevo_events.search import is_about_address

FIRST = "manage.py brevo_events_doctor you@example.com"


@dataclass(frozen=True, slots=True)
class Nothing:
    """A sentence, what to do, perhaps a command, and perhaps a link."""

    text: str
    hint: str = ""
    command: str = ""
    link: str = ""
    link_text: str = ""


def search_help(*, shows_contact: bool) -> str:
    """Return what the search understands, as far as a user may use it."""
    if shows_contact:
        return _(
            "A whole address, an order number, an object such as cart:1234, an ID such as #3130, or an idempotency key."
        )
    return _(
        "An order number, an object such as cart:1234, an ID such as #3130, or an idempotency key. "
        "Your account may not search for addresses."
    )


def nothing(events: EventList, names: Sequence[str], *, shows_contact: bool) -> Nothing:
    """Return the text to show instead of rows."""
    asked = events.asked
    if asked.status != ALL and (elsewhere := events.totals[ALL]).count:
        count = elsewhere.count
        link_text = ngettext("Show %s event of another status", "Show %s events of any status", count) % number(count)
        return Nothing(_empty_tab(asked), link=asked.link(**{STATUS: ALL}), link_text=link_text)
    if asked.term:
        return _not_found(asked, names, shows_contact=shows_contact)
    if asked.is_narrowed:
        clear = Question(status=asked.status, kept=asked.kept).link()
        return Nothing(_("No event matches."), _how_long(), link=clear, link_text=_("Clear filters"))
    return Nothing(_("No event yet."), _("This makes the first one:"), command=FIRST)


def _empty_tab(asked: Question) -> str:
    if asked.is_narrowed:
        return _("No event of this status matches.")
    return {
        WAITING: _("No event is waiting."),
        ACCEPTED: _("No event has been accepted yet."),
        FAILED: _("No event has failed."),
        NOT_NEEDED: _("No event was replaced by a newer one."),
        CANCELLED: _("No event was cancelled."),
    }[asked.status]


def _not_found(asked: Question, names: Sequence[str], *, shows_contact: bool) -> Nothing:
    if asked.term in names:
        link = Question(name=asked.term, status=asked.status, kept=asked.kept).link()
        text = _("“%s” is the name of events.") % asked.term
        return Nothing(text, link=link, link_text=_("Show events with this name"))
    if is_about_address(asked.term) and not shows_contact:
        return Nothing(_("Your account may not search for addresses."), search_help(shows_contact=False))
    return Nothing(_("No event of “%s” is kept.") % asked.term, _how_long())


def _how_long() -> str:
    """Return how long events are kept, in words."""
    try:
        sent, failed = settings.RETENTION_DAYS, settings.FAILED_RETENTION_DAYS
    except InvalidSetting:
        return ""
    days = {"sent": f"{sent:g}", "failed": f"{failed:g}"}
    return _("Events are kept for %(sent)s days after their end, failed ones for %(failed)s.") % days
