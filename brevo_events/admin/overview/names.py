"""The table of event names on the overview."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from brevo_events.admin.charts import number
from brevo_events.names import NamedEvents, Names
from brevo_events.times import ago, exactly, length


class NameRow(NamedTuple):
    """The row of an event name; ``quiet_since`` is empty unless the name has stopped coming."""

    name: str
    url: str
    accepted: str
    rate: str
    failed: str
    failed_share: str
    saved: str
    median: str
    percentile_95: str
    accepted_at: str
    accepted_ago: str
    quiet_since: str


def name_rows(found: Names, address: str) -> list[NameRow]:
    """Return a row for each name; ``address`` is the URL of the list."""
    return [_row(each, found, address) for each in found.rows]


def _row(each: NamedEvents, found: Names, address: str) -> NameRow:
    return NameRow(
        name=each.name,
        url=f"{address}?{urlencode({'name': each.name})}",
        accepted=number(each.accepted),
        rate=_rate(found.per_hour(each.accepted)) if each.accepted else "",
        failed=number(each.failed),
        failed_share=_("%s %%") % _rounded(each.failed_share * 100) if each.failed else "",
        saved=number(each.saved),
        median="" if each.median is None else length(each.median),
        percentile_95="" if each.percentile_95 is None else length(each.percentile_95),
        accepted_at=exactly(each.accepted_at) if each.accepted_at else "",
        accepted_ago=ago(each.accepted_at) if each.accepted_at else "",
        quiet_since=exactly(each.seen_at) if each.is_quiet and each.seen_at else "",
    )


def _rate(per_hour: float) -> str:
    """Return a rate per day or, if that is many, per hour."""
    if per_hour >= 10:
        return _("%s an hour") % number(round(per_hour))
    return _("%s a day") % _rounded(per_hour * 24)


def _rounded(value: float) -> str:
    return number_format(value, 0 if value >= 10 else 1, use_l10n=True)
