"""The data that was sent, for people: a list of dicts becomes a table, other values a list of names and values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

MAX_ROWS = 200
MAX_COLUMNS = 20
MAX_VALUES = 200
MAX_CHARACTERS = 500  # of one value
MAX_DEPTH = 3  # dicts in dicts


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text; ``kind`` is ``number``, ``url`` or empty."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A list of dicts; ``left_out`` says how many more rows and columns it has."""

    name: str
    columns: list[Cell]
    rows: list[list[Cell]]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of a request body: its tables and values, and what it says about the contact."""

    tables: list[Table]
    values: list[tuple[str, str]]
    about_contact: list[tuple[str, str]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent except the names of event, contact and object."""
        return not (self.tables or self.values or self.about_contact)


def content_of(body: Mapping[str, Any]) -> Content:
    """Return the parts of a request body."""
    event_data = body.get("eventdata")
    data = event_data.get("data") if isinstance(event_data, Mapping) else None
    leaves = list(_leaves(data if isinstance(data, Mapping) else {}))
    about = body.get("properties") or body.get("attributes")
    return Content(
        tables=[_table(name, value) for name, value in leaves if _is_table(value)],
        values=[(name, _text(value)) for name, value in leaves if not _is_table(value)][:MAX_VALUES],
        about_contact=[(name, _text(value)) for name, value in _leaves(about if isinstance(about, Mapping) else {})][
            :MAX_VALUES
        ],
    )


def summary_of(body: Mapping[str, Any]) -> str:
    """Return a cart or an order in a few words, as in ``2 items, 61.00 EUR``; empty for other events."""
    event_data = body.get("eventdata")
    data = event_data.get("data") if isinstance(event_data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(items := data.get("items"), list):
        return ""
    number, total = data.get("id"), data.get("total")
    parts = [_("order %s") % _text(number)] if isinstance(number, str | int) else []
    parts.append(ngettext("%d item", "%d items", len(items)) % len(items))
    if isinstance(total, int | float):
        parts.append(f"{total:.2f} {data.get('currency', '')}".strip())
    return ", ".join(parts)


def _leaves(values: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and depth < MAX_DEPTH:
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _table(name: str, rows: list[Mapping[str, Any]]) -> Table:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    kinds = {key: _kind(row[key] for row in rows if row.get(key) is not None) for key in keys}
    # A price of 89 is shown as 89.00 in the same column as 14.50.
    fractions = {
        key for key, kind in kinds.items() if kind == "number" and any(type(row.get(key)) is float for row in rows)
    }
    # URLs of pages and images take up much room and say little.
    keys.sort(key=lambda key: kinds[key] == "url")
    shown = keys[:MAX_COLUMNS]
    return Table(
        name=name,
        columns=[Cell(key, kinds[key]) for key in shown],
        rows=[[_cell(row.get(key, ""), kinds[key], key in fractions) for key in shown] for row in rows[:MAX_ROWS]],
        left_out=_left_out(len(rows) - MAX_ROWS, len(keys) - MAX_COLUMNS),
    )


def _cell(value: Any, kind: str, is_fraction: bool) -> Cell:
    return Cell(_text(float(value) if is_fraction and isinstance(value, int) else value), kind)


def _left_out(rows: int, columns: int) -> str:
    parts = [ngettext("%d more row", "%d more rows", rows) % rows] if rows > 0 else []
    parts += [ngettext("%d more column", "%d more columns", columns) % columns] if columns > 0 else []
    return ", ".join(parts)


def _kind(values: Iterable[Any]) -> str:
    each = list(values)
    if each and all(isinstance(value, int | float) and not isinstance(value, bool) for value in each):
        return "number"
    if each and all(isinstance(value, str) and value.startswith(("https://", "http://")) for value in each):
        return "url"
    return ""


def _text(value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, float) and round(value, 2) == value:
        return f"{value:.2f}"
    if isinstance(value, list) and not any(isinstance(each, list | Mapping) for each in value):
        text = ", ".join(_text(each) for each in value)
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"
