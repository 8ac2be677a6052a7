from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brevo_events import engines, track
from brevo_events.models import OutboxEvent, Reason, SendAttempt, Status
from brevo_events.transports import locmem
from tests.browsing import (
    ACTIONS,
    ADA,
    BOB,
    EVE,
    LIST,
    address_of,
    ask,
    attempt,
    can_be_confirmed,
    confirm,
    dump,
    ended,
    expired,
    facts_of,
    messages_of,
    page_of,
    pks_of,
    root,
    selected,
    staff,
    statuses_of,
    text_of,
)

pytestmark = pytest.mark.usefixtures("by_hand")

FAILED, PENDING, SENT, CANCELLED = Status.FAILED, Status.PENDING, Status.SENT, Status.CANCELLED
RUBBISH = {
    "letters": "abc",
    "a number among letters": "1,x",
    "negative": "-1",
    "huge": "9" * 19,
    "a fraction": "1.5",
    "spaces": "1, 2",
    "an empty one": "1,,2",
    "a comma": ",",
    "NUL": "1\0",
    "only NUL": "\0",
    "superscript": "²",
    "SQL": "1) OR (1=1",
    "one too many": ",".join(["1"] * 10_001),
}


@pytest.fixture
def events(db):
    """One event that has failed and one that waits, of two contacts: each action finds one to change."""
    return [ended(ADA, object_id="cart:1"), track("viewed", BOB)]


@pytest.mark.django_db
class ConfirmingTests:
    @pytest.mark.parametrize("browser", ["root", "resender"])
    def test_a_resend_makes_events_due_again(self, browser):
        browser = root() if browser == "root" else staff("view_outboxevent", "resend_outboxevent")
        events = [ended(ADA, reason="rejected"), ended(BOB)]

        response = confirm(browser, "resend", events[0])

        row = OutboxEvent.objects.get(pk=events[0].pk)
        assert (row.status, row.reason, row.attempts) == (PENDING, "", 0)
        assert row.due_at is not None
        assert statuses_of(events[1]) == [FAILED]
        assert messages_of(response) == ["1 event will be sent again."]

    def test_a_cancel_ends_what_waits(self):
        browser = staff("view_outboxevent", "cancel_outboxevent")
        waiting, other = track("viewed", ADA), track("viewed", ADA)

        response = confirm(browser, "cancel", waiting)

        row = OutboxEvent.objects.get(pk=waiting.pk)
        assert (row.status, row.reason) == (CANCELLED, Reason.OPERATOR)
        assert statuses_of(other) == [PENDING]
        assert messages_of(response) == ["1 event was cancelled."]

    @pytest.mark.parametrize(
        ("option", "resent"),
        [
            (None, []),
            ("include_sent", ["sent"]),
            ("include_outdated", ["outdated"]),
            ("include_expired", ["expired"]),
            ("dry_run", []),
        ],
    )
    def test_takes_in_what_was_ticked(self, client, option, resent):
        found = {"sent": ended(ADA, SENT), "outdated": ended(BOB, object_id="cart:1"), "expired": expired(EVE)}
        newer = ended(BOB, object_id="cart:1")

        response = confirm(client, "resend", *found.values(), **({option: "on"} if option else {}))

        assert [what for what, event in found.items() if statuses_of(event) == [PENDING]] == resent
        assert statuses_of(newer) == [FAILED]
        assert len(messages_of(response)) == 3

    def test_tells_what_was_skipped_and_why(self, client):
        stale, _newer = (ended(ADA, object_id="cart:1") for _ in range(2))
        waiting, sent, failed, late = track("viewed", ADA), ended(BOB, SENT), ended(EVE), expired("x@example.com")

        response = confirm(client, "resend", stale, waiting, sent, failed, late)

        assert set(messages_of(response)) == {
            "1 event will be sent again.",
            "1 event was skipped: a newer event of the same contact and object exists.",
            "1 event was skipped: still waiting or being sent.",
            "1 event was skipped: already sent.",
            "1 event was skipped: expired.",
        }
        assert statuses_of(stale, sent, failed) == [FAILED, SENT, PENDING]
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize("number", [2, 101])
    def test_links_to_what_became_of_several(self, client, number):
        events = [ended(f"{index}@example.com") for index in range(number)]
        other = ended(BOB)

        response = confirm(client, "resend", *events)

        link = re.search(r'<a href="([^"]*\?batch=\d+)">See them</a>', text_of(response))[1]
        listed = client.get(link).context["cl"]
        assert listed.result_count == number
        assert other not in listed.result_list

    def test_links_nowhere_from_the_page_of_the_only_one(self, client):
        assert "See them" not in text_of(confirm(client, "resend", ended(ADA)))

    @pytest.mark.parametrize("entry", ["x", "0", "9" * 30, "²", "-1"], ids=ascii)
    def test_of_no_batch_are_none(self, client, entry):
        ended(ADA)

        assert client.get(LIST, {"batch": entry}).context["cl"].result_count == 0

    def test_tells_of_a_cancel_what_was_skipped_and_why(self, client):
        events = [track("viewed", ADA), ended(ADA), ended(ADA, Status.SENDING), ended(ADA, Status.SENDING)]

        response = confirm(client, "cancel", *events)

        assert set(messages_of(response)) == {
            "1 event was cancelled.",
            "1 event was skipped: already finished.",
            "2 events were skipped: being sent.",
        }
        assert statuses_of(*events) == [CANCELLED, FAILED, Status.SENDING, Status.SENDING]

    def test_twice_does_it_once(self, client):
        event = ended(ADA)

        confirm(client, "resend", event)
        response = confirm(client, "resend", event)

        assert messages_of(response) == ["1 event was skipped: still waiting or being sent."]
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize("action", ACTIONS)
    def test_of_events_that_vanished_says_so(self, client, events, action):
        pks = pks_of(events)
        OutboxEvent.objects.filter(pk__in=pks.split(",")).delete()

        asked = client.post(address_of(action), {"pks": pks})
        confirmed = client.post(address_of(action), {"pks": pks, "confirmed": "yes"}, follow=True)

        assert facts_of(asked) == ["There is nothing to do."]
        assert not can_be_confirmed(asked)
        assert messages_of(confirmed) == ["There is nothing to do."]
        assert confirmed.redirect_chain == [(LIST, 302)]
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("action", ACTIONS)
    def test_does_it_to_those_that_are_still_there(self, client, action):
        events = [track("viewed", ADA) if action == "cancel" else ended(ADA) for _ in range(2)]
        pks = pks_of(events)
        events[0].delete()

        client.post(address_of(action), {"pks": pks, "confirmed": "yes"})

        assert [entry.object_id for entry in LogEntry.objects.all()] == [str(events[1].pk)]

    def test_of_a_vanished_event_leads_home(self, client):
        event = ended(ADA)
        OutboxEvent.objects.all().delete()

        response = confirm(client, "resend", event)

        assert [url for url, _ in response.redirect_chain] == [page_of(event), "/admin/"]

    @pytest.mark.parametrize("pks", RUBBISH.values(), ids=RUBBISH)
    @pytest.mark.parametrize("action", ACTIONS)
    def test_of_rubbish_is_refused(self, client, events, action, pks):
        before = dump()

        for more in ({}, {"confirmed": "yes"}):
            assert client.post(address_of(action), {"pks": pks, **more}).status_code == 400
        assert dump() == before

    @pytest.mark.parametrize("pks", [{}, {"pks": ""}, {"pks": "0"}, {"pks": "9" * 18}], ids=str)
    @pytest.mark.parametrize("action", ACTIONS)
    def test_of_no_event_does_nothing(self, client, events, action, pks):
        before = dump()

        assert facts_of(client.post(address_of(action), pks)) == ["There is nothing to do."]
        assert client.post(address_of(action), {**pks, "confirmed": "yes"}).status_code == 302
        assert dump() == before

    def test_nudges_the_engine_once_all_is_written(
        self, client, events, monkeypatch, django_capture_on_commit_callbacks
    ):
        nudges = []
        monkeypatch.setattr(engines, "nudge", lambda **how: nudges.append((how, LogEntry.objects.count())))

        with django_capture_on_commit_callbacks(execute=True):
            confirm(client, "resend", *events)
            assert nudges == []
        assert nudges == [({"in_background": True}, 1)]

    def test_of_many_is_not_one_query_each(self, client):
        counts = []
        for number in (1, 5, 50):  # the first also looks up the content type, if no test has before
            events = [ended(f"{number}.{index}@example.com") for index in range(number)]
            with CaptureQueriesContext(connection) as queries:
                confirm(client, "resend", *events, follow=False)
            counts.append(len(queries))

        assert LogEntry.objects.count() == 56
        assert counts[1] == counts[2]


@pytest.mark.django_db(transaction=True)
class InTheRequestTests:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_nothing_is_sent(self, client, settings, action):
        events = [ended(ADA), ended(BOB), track("viewed", EVE)]
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        ask(client, action, *events)
        confirm(client, action, *events)
        client.post(LIST, selected(action, *events))

        assert locmem.sent == []
        expected = {"resend": [PENDING] * 3, "cancel": [FAILED, FAILED, CANCELLED]}
        assert statuses_of(*events) == expected.get(action, [FAILED, FAILED, CANCELLED])


@pytest.mark.django_db
class LogTests:
    @pytest.mark.parametrize(
        ("action", "status", "said"),
        [("resend", FAILED, "Resent."), ("cancel", PENDING, "Cancelled."), ("erase", SENT, "Erased.")],
    )
    def test_names_each_event_and_no_address(self, client, action, status, said):
        events = [ended(email, status, object_id=f"{email}:1") for email in (ADA, BOB)]

        confirm(client, action, *events)

        entries = LogEntry.objects.order_by("object_id")
        assert [entry.object_id for entry in entries] == [str(event.pk) for event in events]
        for entry, event in zip(entries, events, strict=True):
            assert (entry.user.username, entry.action_flag) == ("root", CHANGE)
            others = f"{said} Events: #{events[0].pk}-#{events[1].pk}"
            assert (entry.object_repr, entry.get_change_message()) == (f"viewed #{event.pk}", others)
            assert "@" not in repr(vars(entry))
        assert said in text_of(client.get(f"{LIST}{events[0].pk}/history/"))

    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize(("number", "entries"), [(100, 100), (101, 1)])
    def test_has_one_summary_of_more_than_a_hundred(self, client, action, number, entries):
        events = [ended(ADA, PENDING if action == "cancel" else FAILED) for _ in range(number)]

        response = confirm(client, action, *events, include_outdated="on")

        assert LogEntry.objects.count() == entries
        assert messages_of(response)[0].startswith(f"{number} events ")
        summary = LogEntry.objects.first()
        assert "@" not in repr(vars(summary))
        if entries == 1:
            assert (summary.object_repr, summary.object_id) == ("101 events", None)
            assert "101 events" in text_of(client.get("/admin/"))

    @pytest.mark.parametrize(("action", "status"), [("resend", FAILED), ("cancel", PENDING), ("erase", SENT)])
    def test_that_cannot_be_written_lets_nothing_be_changed(self, client, monkeypatch, action, status):
        event = ended(ADA, status)
        before = OutboxEvent.objects.values().get()
        monkeypatch.setattr(LogEntry.objects, "log_actions", lambda *arguments: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            confirm(client, action, event)

        assert OutboxEvent.objects.values().get() == before

    @pytest.mark.parametrize("action", ACTIONS)
    def test_has_nothing_of_what_was_not_changed(self, client, action):
        erased = ended(ADA)
        confirm(client, "erase", erased)
        LogEntry.objects.all().delete()

        confirm(client, action, erased)

        assert not LogEntry.objects.exists()


@pytest.mark.django_db
class EraseTests:
    @pytest.fixture
    def eraser(self):
        return staff("view_outboxevent", "erase_contact", "view_contact_data")

    def test_takes_all_events_of_the_contacts_in_any_letter_case(self, eraser):
        first = ended("Ada@Example.com", object_id="cart:1", data={"name": "Lovelace"})
        others = [ended("ADA@EXAMPLE.COM", SENT), ended(ADA, CANCELLED), track("viewed", "aDa@example.com")]
        attempt(others[0], response_code=400, error="ada@example.com", answer="Ada@Example.com is blocked")
        kept = track("viewed", BOB, object_id="cart:1")

        asked = ask(eraser, "erase", first)
        response = confirm(eraser, "erase", first)

        assert facts_of(asked)[0].startswith("4 events will lose their address")
        assert facts_of(asked)[3].lower() == "1 contact: ada@example.com"
        assert messages_of(response) == ["4 events were erased. See them"]
        assert OutboxEvent.objects.exclude(contact="").get() == kept
        rows = [*OutboxEvent.objects.exclude(pk=kept.pk).values(), *SendAttempt.objects.values()]
        assert not re.search("ada@|lovelace|cart:1", repr([rows, *LogEntry.objects.values()]), re.IGNORECASE)
        assert LogEntry.objects.count() == 4

    def test_cancels_what_waits_and_what_is_being_sent(self, eraser):
        waiting, sending, failed = track("viewed", ADA), ended(ADA, Status.SENDING), ended(ADA, reason="gave_up")

        confirm(eraser, "erase", failed)

        found = [OutboxEvent.objects.get(pk=event.pk) for event in (waiting, sending, failed)]
        assert [(row.status, row.reason) for row in found] == [
            (CANCELLED, Reason.ERASED),
            (CANCELLED, Reason.ERASED),
            (FAILED, Reason.GAVE_UP),
        ]

    def test_lists_every_contact(self, eraser):
        events = [ended(f"{index}@example.com") for index in range(10, 110)]

        contacts = facts_of(ask(eraser, "erase", *events))[3]

        assert contacts == f"100 contacts: {', '.join(f'{index}@example.com' for index in range(10, 110))}"

    @pytest.mark.parametrize("typed", ["", "1", "two", "22", "²"])
    def test_of_several_contacts_asks_for_their_number(self, eraser, typed):
        events = [ended(ADA), ended(BOB)]
        before = dump()

        asked = ask(eraser, "erase", *events)
        response = confirm(eraser, "erase", *events, contacts=typed)

        assert 'name="contacts"' in text_of(asked)
        assert messages_of(response) == ["Nothing was erased. Type the number of contacts first."]
        assert can_be_confirmed(response)
        assert dump() == before
        confirm(eraser, "erase", *events, contacts=" 2 ")
        assert not OutboxEvent.objects.exclude(contact="").exists()

    def test_of_one_contact_asks_for_no_number(self, eraser):
        assert 'name="contacts"' not in text_of(ask(eraser, "erase", ended(ADA), ended(ADA)))

    def test_shows_masked_contacts_to_those_who_may_not_see_them(self):
        browser = staff("view_outboxevent", "erase_contact")

        page = ask(browser, "erase", ended(ADA), ended(BOB))

        assert facts_of(page)[3] == "2 contacts: a…@e…, b…@e…"
        assert "example.com" not in text_of(page)

    def test_refuses_more_than_a_hundred_contacts(self, eraser):
        events = [ended(f"{index}@example.com") for index in range(101)]
        before = [dict(row) for row in OutboxEvent.objects.values()]

        asked, response = ask(eraser, "erase", *events), confirm(eraser, "erase", *events)

        assert (asked.status_code, asked.url) == (302, LIST)
        assert messages_of(response) == ["Select events of at most 100 contacts."] * 2
        assert [dict(row) for row in OutboxEvent.objects.values()] == before
        assert not LogEntry.objects.exists()

    def test_takes_a_hundred_contacts(self, eraser):
        events = [ended(f"{index}@example.com") for index in range(100)]

        response = confirm(eraser, "erase", *events)

        assert messages_of(response) == ["100 events were erased. See them"]
        assert not OutboxEvent.objects.exclude(contact="", email="").exists()

    def test_skips_what_is_erased_already(self, eraser):
        events = [ended(ADA), ended(BOB)]
        confirm(eraser, "erase", events[0])

        response = confirm(eraser, "erase", *events)

        assert messages_of(response) == ["1 event was erased.", "1 event was skipped: erased with its contact."]

    def test_leaves_nothing_to_resend_or_cancel(self, client):
        event = ended(ADA)
        confirm(client, "erase", event)
        before = OutboxEvent.objects.values().get()

        resent, cancelled = confirm(client, "resend", event), confirm(client, "cancel", event)

        assert messages_of(resent) == ["1 event was skipped: erased with its contact."]
        assert messages_of(cancelled) == ["1 event was skipped: already finished."]
        assert OutboxEvent.objects.values().get() == before

    def test_takes_a_contact_with_more_events_than_a_statement_takes(self, eraser):
        event = ended(ADA)
        others = [OutboxEvent(name="viewed", email=ADA, contact=event.contact, body="{}") for _ in range(1100)]
        OutboxEvent.objects.bulk_create(others, batch_size=30)

        with at_most_values(900):
            asked, response = ask(eraser, "erase", event), confirm(eraser, "erase", event)

        assert facts_of(asked)[0].startswith("1101 events will lose")
        assert messages_of(response) == ["1101 events were erased. See them"]
        assert LogEntry.objects.get().object_repr == "1101 events"


@contextmanager
def at_most_values(number):
    """Let SQLite take no more values in a statement; as it is built for Debian, it takes 250,000, elsewhere 32,766."""
    if connection.vendor != "sqlite":
        yield
        return
    usual = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, number)
    try:
        yield
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, usual)
