"""
The cost of the admin's pages to the database, with a million events and with a tenth of that.

Each outbox has its own database. Measured is the total time of all SELECTs for
a page, including those for the session and the user.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import CharField, F, Value
from django.db.models.functions import Cast, Concat
from django.test import Client

from benchmarks import databases, rows
from benchmarks.figures import Figure, interleave
from brevo_events.addresses import contact_hash
from brevo_events.models import OutboxEvent, Reason, Status

EVENTS_OF_CONTACT = 50
WAITING = 2_000
IN_100 = {Status.FAILED: (Reason.REJECTED, 400, (7, 57)), Status.CANCELLED: (Reason.SUPERSEDED, None, (3, 30, 80))}
EVENTS = "/admin/brevo_events/outboxevent/"
ADDRESS = "customer@example.com"
TABS = {tab: tab for tab in ("waiting", "failed", "cancelled")} | {"sent": "accepted", "superseded": "not needed"}
PAGES = {
    "list": "",
    **{f"list, {label}": f"?status={status}" for status, label in TABS.items()},
    **{f"list, answer {code}": f"?response={code}" for code in ("2", "3", "4", "5", "none")},
    **{f"list, captured: {span}": f"?span={span}" for span in ("hour", "today", "yesterday", "week", "month")},
    **{f"list, finished: {span}": f"?when=finished&span={span}" for span in ("hour", "yesterday", "month")},
    "list, of one name": "?name=cart_updated",
    "list, of a name that is rare": "?name=rare",
    "list, of a name that is rare, of a month": "?name=rare&span=month",
    "list, failed, captured yesterday": "?status=failed&span=yesterday",
    "list, failed, captured in a month": "?status=failed&span=month",
    "list, accepted, finished in a month": "?status=sent&when=finished&span=month",
    "list, failed of one name": "?status=failed&name=cart_updated",
    "list, failed of a name that is rare": "?status=failed&name=rare",
    "list, waiting of a name that is rare": "?status=waiting&name=rare",
    "list, failed in a month with 4xx": "?status=failed&when=finished&span=month&response=4",
    "list, accepted in a month with 4xx (none)": "?status=sent&when=finished&span=month&response=4",
    "list, last page": "?p=200",
    "list, last page of what was captured in a month": "?span=month&p=200",
    "list, last page of what finished in a month": "?when=finished&span=month&p=200",
    "search by address": f"?q={ADDRESS}",
    "search by address, failed": f"?q={ADDRESS}&status=failed",
    "search by object": "?q=cart:77",
    "search by ID": "?q=%2377",
    "search by a number": "?q=77",
    "search by order number": "?q=2026-101249",
    "search for nothing": "?q=nothing",
    "page of an event": "77/change/",
    "page of a contact": "contact/77/",
    "overview, counted anew": "overview/",
}


def run(quick: bool) -> list[Figure]:
    """Compare each page with many events to the same page with a tenth of them."""
    many = 100_000 if quick else 1_000_000
    counts = {"few": many // 10, "many": many}
    with databases.created(*counts):
        shops = {alias: _Shop(alias, count) for alias, count in counts.items()}
        found = {page: interleave({alias: shop.opens(page) for alias, shop in shops.items()}, 7) for page in PAGES}
        statements = {page: {alias: shop.statements[page] for alias, shop in shops.items()} for page in PAGES}
    slowest = max(PAGES, key=lambda page: median(found[page]["many"]))
    growing = [page for page, asked in statements.items() if asked["few"] != asked["many"]]
    return [
        *(
            Figure(f"{page} ({statements[page]['many']} queries)", samples["many"], "ms", samples["few"])
            for page, samples in found.items()
        ),
        Figure(f"the slowest of them: {slowest}", found[slowest]["many"], "ms", at_most=100),
        Figure(f"pages with other queries: {', '.join(growing) or 'none'}", [len(growing)], ""),
    ]


class _Shop:
    """An outbox in its own database, with an administrator who opens pages."""

    def __init__(self, alias: str, count: int) -> None:
        self.statements: dict[str, int] = {}
        self._alias = alias
        self._client = Client()
        with databases.using(alias):
            _fill(count)
            self._client.force_login(User.objects.create_superuser("admin"))

    def opens(self, page: str) -> Any:
        """Return a function that opens a page and returns the milliseconds spent in the database."""
        return lambda: self._open(page)

    def _open(self, page: str) -> float:
        asked: list[tuple[str, Any]] = []

        def listen(execute: Any, sql: str, parameters: Any, *arguments: Any) -> Any:
            asked.append((sql, parameters))
            return execute(sql, parameters, *arguments)

        with databases.using(self._alias):
            cache.clear()
            with databases.current().execute_wrapper(listen):
                response = self._client.get(EVENTS + PAGES[page])
            if response.status_code != 200:
                raise RuntimeError(f"{page}: {response.status_code}")
            self.statements[page] = len(asked)
            return sum(_milliseconds(sql, parameters) for sql, parameters in asked if sql.startswith("SELECT"))


def _milliseconds(sql: str, parameters: Any) -> float:
    """Repeat a query to its last row, because SQLite only looks for the others when they are fetched."""
    with databases.current().cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(sql, parameters)
        cursor.fetchall()
        return (time.perf_counter() - began) * 1000


def _fill(count: int) -> None:
    contact = f"n % {count // EVENTS_OF_CONTACT}"
    rows.fill(count, status=Status.SENT, contact=contact, ended=0)
    events = OutboxEvent.objects.annotate(place=F("pk") % 100)
    events.update(response_code=204, object_id=Concat(Value("cart:"), Cast("pk", CharField())))
    for status, (reason, code, places) in IN_100.items():
        events.filter(place__in=places).update(status=status, reason=reason, response_code=code)
    rows.add_attempts()
    rows.fill(WAITING, contact=contact)
    # One customer among many, and a name that few events have.
    OutboxEvent.objects.filter(pk__in=range(1, 41)).update(email=ADDRESS, contact=contact_hash(ADDRESS), name="rare")
    rows.analyse()
    if databases.current().vendor == "sqlite":
        # It isn't analysed automatically, so its planner guesses.
        with databases.current().cursor() as cursor:
            cursor.execute("DROP TABLE sqlite_stat1")
