from __future__ import annotations

import csv
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from brevo_events import track
from brevo_events.admin import export
from brevo_events.models import OutboxEvent, Status
from tests.browsing import ADA, BOB, EVE, LIST, attempt, browser_of, dump, ended, root, staff, text_of

pytestmark = pytest.mark.usefixtures("by_hand")

VIEW, EXPORT, SEE = "view_outboxevent", "export_outboxevent", "view_contact_data"
FILE = f"{LIST}export/"


def table_of(response):
    """Return the rows of the file, each with its columns by name."""
    assert response.status_code == 200, response
    text = b"".join(response).decode()
    assert text.startswith("\ufeff")
    return list(csv.DictReader(StringIO(text[1:])))


@pytest.mark.django_db
class FileTests:
    def test_holds_the_events_that_the_list_shows_in_its_order(self):
        browser = root()
        first, second = ended(ADA, object_id="cart:1", response_code=400), ended(BOB)
        ended(EVE, Status.SENT)
        attempt(first, response_code=400, answer='{"code": "x", "message": "Contact is blocklisted"}')

        rows = table_of(browser.post(f"{FILE}?status=failed"))

        assert [row["id"] for row in rows] == [str(second.pk), str(first.pk)]
        row = rows[1]
        assert (row["event"], row["status"], row["contact"], row["object"]) == ("viewed", "Failed", ADA, "cart:1")
        assert (row["code"], row["answer"], row["attempts"]) == ("400", "Contact is blocklisted", "3")
        assert row["captured"].endswith(("+01:00", "+02:00"))

    def test_comes_as_a_file_that_no_cache_keeps(self):
        ended(ADA)

        response = root().post(FILE)

        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"].startswith('attachment; filename="brevo-events-2')
        assert "no-store" in response["Cache-Control"]

    def test_holds_the_first_ten_thousand_only(self, monkeypatch):
        assert export.MOST == 10_000
        monkeypatch.setattr(export, "MOST", 2)
        for email in (ADA, BOB, EVE):
            ended(email)

        assert [row["contact"] for row in table_of(root().post(FILE))] == [EVE, BOB]

    def test_is_read_in_batches(self, monkeypatch):
        monkeypatch.setattr("brevo_events.querysets.BATCH", 2)
        browser = root()
        for _ in range(5):
            attempt(ended(ADA), response_code=400)

        assert len(table_of(browser.post(FILE))) == 5

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_holds_no_formula(self, text):
        event = ended(ADA, name=text.strip() or "x", object_id="x")
        attempt(event, answer=f'{{"message": "{text.strip()}"}}')
        OutboxEvent.objects.update(email=f"{text}@example.com", object_id=text)

        (row,) = table_of(root().post(FILE))

        assert row["contact"].startswith("'")
        assert row["object"].startswith("'")
        assert not [cell for cell in row.values() if cell.startswith(export.FORMULA)]

    def test_leaves_what_is_none(self):
        assert [export.safe(value) for value in ("a=b", 12, None, "")] == ["a=b", "12", "", ""]

    def test_leaves_an_entry_in_the_log_without_an_address(self):
        for email in (ADA, BOB):
            ended(email)

        root().post(f"{FILE}?q={ADA}")

        entry = LogEntry.objects.get()
        assert (entry.object_repr, entry.get_change_message()) == ("1 event", "Exported.")
        assert entry.user.username == "root"

    def test_leaves_one_entry_that_names_every_event(self):
        events = [ended(email) for email in (ADA, BOB)]

        root().post(FILE)

        entry = LogEntry.objects.get()
        assert entry.object_repr == "2 events"
        assert entry.change_message == f"Exported. Events: #{events[0].pk}-#{events[1].pk}"

    def test_says_of_each_event_what_pages_say(self):
        ended(ADA, Status.SENT)
        ended(BOB, Status.CANCELLED, reason="superseded")

        rows = table_of(root().post(FILE))

        assert [(row["status"], row["reason"]) for row in rows] == [
            ("Not needed", "Superseded by a newer event"),
            ("Accepted", ""),
        ]

    def test_asks_for_no_other_column_than_the_list(self):
        ended(ADA)

        assert root().post(f"{FILE}?email__startswith=a").status_code == 400

    def test_whose_page_does_not_exist_holds_all_the_same(self):
        ended(ADA)

        assert root().post(f"{FILE}?p=77").status_code in (200, 302)


@pytest.mark.django_db
class AllowedTests:
    def test_is_offered_to_those_who_may_only(self):
        ended(ADA)

        assert FILE in text_of(staff(VIEW, EXPORT).get(LIST))
        assert FILE not in text_of(staff(VIEW, SEE).get(LIST))
        assert FILE not in text_of(root().get(LIST, {"status": "sent"}))

    @pytest.mark.parametrize("permissions", [[], [VIEW], [VIEW, SEE], [EXPORT], [EXPORT, SEE]], ids=" ".join)
    def test_is_refused_to_others(self, permissions):
        ended(ADA)

        assert staff(*permissions).post(FILE).status_code == 403
        assert not LogEntry.objects.exists()

    def test_masks_what_the_list_masks(self):
        event = ended(ADA, object_id=f"user:{ADA}", response_code=400)
        attempt(event, response_code=400, answer=f'{{"message": "{ADA} is blocked"}}')

        (row,) = table_of(staff(VIEW, EXPORT).post(FILE))

        assert (row["contact"], row["object"]) == ("a…@e…", "u…@e…")
        assert ADA not in str(row)
        assert row["answer"].startswith("Brevo rejected the event")

    def test_does_not_confirm_an_address_that_is_masked(self):
        ended(ADA)

        assert table_of(staff(VIEW, EXPORT).post(f"{FILE}?q={ADA}")) == []

    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
    def test_is_made_by_a_post_only(self, method):
        ended(ADA)
        browser, before = root(), dump()

        assert getattr(browser, method)(FILE).status_code == 405
        assert {**dump(), "auth.User": None} == {**before, "auth.User": None}

    def test_needs_the_token_of_the_form(self):
        user = root().get("/admin/").wsgi_request.user
        browser = browser_of(user, enforce_csrf_checks=True)

        assert browser.post(FILE).status_code == 403

    def test_asks_strangers_to_log_in(self, client):
        assert "login" in Client().post(FILE).url

    def test_holds_no_event_that_a_project_hides(self, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        track("viewed", ADA)
        track("hidden", BOB)

        rows = table_of(root().post(FILE.replace("/admin/", "/viewed/")))

        assert [row["contact"] for row in rows] == [ADA]
