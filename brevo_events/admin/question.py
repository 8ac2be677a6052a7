from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.views.main import ERROR_FLAG, IGNORED_PARAMS, PAGE_VAR, SEARCH_VAR
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from brevo_events.admin.spans import ANY_TIME, PRESETS, Span, moment_of, parameter_of, preset
from brevo_events.choices import UNFINISHED, Reason, Status

ALL, WAITING, ACCEPTED, FAILED, NOT_NEEDED, CANCELLED = "", "waiting", "sent", "failed", "superseded", "cancelled"
ENDED = (ACCEPTED, FAILED, NOT_NEEDED, CANCELLED)
CAPTURED, FINISHED = "captured", "finished"
STATUS, NAME, RESPONSE, FAILURE, BATCH = "status", "name", "response", "failure", "batch"
WHEN, FROM, TO, SPAN = "when", "from", "to", "span"
ASKED = (STATUS, NAME, RESPONSE, FAILURE, BATCH, WHEN, FROM, TO, SPAN)
KEPT = (IS_POPUP_VAR, TO_FIELD_VAR)  # parameters of a pop-up in which an event is chosen

TABS: dict[str, str | Promise] = {
    ALL: _("All"),
    WAITING: _("Waiting"),
    ACCEPTED: _("Accepted"),
    FAILED: _("Failed"),
    NOT_NEEDED: _("Not needed"),
    CANCELLED: _("Cancelled"),
}
STATUSES: dict[str, tuple[str, ...]] = {
    ALL: tuple(Status),
    WAITING: UNFINISHED,
    ACCEPTED: (Status.SENT,),
    FAILED: (Status.FAILED,),
    NOT_NEEDED: (Status.CANCELLED,),
    CANCELLED: (Status.CANCELLED,),
}
REASONS = {NOT_NEEDED: Q(reason=Reason.SUPERSEDED), CANCELLED: ~Q(reason=Reason.SUPERSEDED)}
ANSWERS: dict[str, str | Promise] = {
    "2": _("2xx: accepted"),
    "3": _("3xx: redirected"),
    "4": _("4xx: rejected"),
    "5": _("5xx: error at Brevo"),
    "none": _("no answer"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """
    What the list is asked for: a tab, filters, a span of time and a search.

    ``when`` says which of an event's times lies in the span; ``preset`` is the
    name of the span, if it has one; ``failure`` is the fingerprint of a group
    of failures; ``batch`` is the entry in the admin's log for events that were
    changed together. Invalid values of parameters are ignored.
    """

    status: str = ALL
    name: str = ""
    response: str = ""
    failure: str = ""
    batch: str = ""
    when: str = CAPTURED
    span: Span = ANY_TIME
    preset: str = ""
    term: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def conditions(self) -> Q:
        """The conditions that no index starts with: name and answer."""
        named = Q(name=self.name) if self.name else Q()
        return named & _answered(self.response)

    @property
    def captured(self) -> Span:
        """The span in which the events were captured."""
        return self.span if self.when == CAPTURED else ANY_TIME

    @property
    def finished(self) -> Span:
        """The span in which the events ended."""
        return self.span if self.when == FINISHED else ANY_TIME

    @property
    def spans(self) -> dict[str, datetime]:
        """The lookups of both spans."""
        return {**self.captured.on("created_at"), **self.finished.on("finished_at")}

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is asked for besides the tab."""
        return bool(self.name or self.response or self.failure or self.batch or self.span or self.term)

    def link(self, **changes: str) -> str:
        """Return the query string of this question, or of one that differs in some parameters."""
        given = {
            STATUS: self.status,
            NAME: self.name,
            RESPONSE: self.response,
            FAILURE: self.failure,
            BATCH: self.batch,
            WHEN: self.when if self.span else "",
            SPAN: self.preset,
            FROM: "" if self.preset else parameter_of(self.span.start),
            TO: "" if self.preset else parameter_of(self.span.end),
            SEARCH_VAR: self.term,
            **self.kept,
        }
        return "?" + urlencode({key: value for key, value in (given | changes).items() if value})


def question(parameters: Mapping[str, Any], term: str, now: datetime | None = None) -> Question:
    """
    Read what a request asks for; ``term`` is the search.

    Raises DisallowedModelAdminLookup for a parameter that the list doesn't
    have: if it could be asked for any column, as in ``?email__startswith=a``,
    it would reveal what is masked.
    """
    for key in parameters:
        if key not in (*ASKED, *IGNORED_PARAMS, PAGE_VAR, ERROR_FLAG):
            raise DisallowedModelAdminLookup(f"Filtering by {key} not allowed")
    # PostgreSQL rejects a NUL even in a comparison.
    given = {key: str(parameters.get(key, "")).replace("\0", "") for key in (*ASKED, *KEPT)}
    named = preset(given[SPAN], now or timezone.now())
    return Question(
        status=given[STATUS] if given[STATUS] in TABS else ALL,
        name=given[NAME],
        response=given[RESPONSE] if given[RESPONSE] in ANSWERS else "",
        failure=given[FAILURE],
        batch=given[BATCH],
        when=FINISHED if given[WHEN] == FINISHED else CAPTURED,
        span=named or Span(moment_of(given[FROM]), moment_of(given[TO])),
        preset=given[SPAN] if given[SPAN] in PRESETS else "",
        term=term,
        kept={key: given[key] for key in KEPT if given[key]},
    )


def _answered(response: str) -> Q:
    if not response:
        return Q()
    if response == "none":
        return Q(response_code=None)
    lowest = int(response) * 100
    return Q(response_code__gte=lowest, response_code__lt=lowest + 100)
