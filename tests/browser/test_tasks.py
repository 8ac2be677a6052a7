"""What people come to the admin for, and how many clicks they need."""

from __future__ import annotations

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.browser.made import FAILED, SLOW
from tests.browser.shop import EVENTS


class Clicks:
    """Counts what a person clicks on, and chooses from a list; typing is free."""

    def __init__(self):
        self.count = 0

    def on(self, locator):
        """Click."""
        self.count += 1
        locator.click()

    def choose(self, locator, option):
        """Choose an option."""
        self.count += 1
        locator.select_option(option)


@pytest.fixture
def clicks():
    return Clicks()


INDEX, APP = "/admin/", "/admin/brevo_events/"


class AnswerTests:
    def test_why_a_contact_got_no_reminder_takes_two_clicks_and_typing(self, admin, served, clicks):
        number, email = served.superseded()
        admin.goto(INDEX)

        clicks.on(admin.locator("#content").get_by_role("link", name="Events", exact=True))
        admin.get_by_label("Search events").fill(email)
        admin.keyboard.press("Enter")
        row = admin.locator("#result_list tbody tr").filter(has=admin.locator(f"a[href*='/{number}/change/']")).first
        expect(row).to_contain_text("Not needed")
        clicks.on(row.locator("th a"))

        expect(admin.locator(".brevo-answer")).to_contain_text(re.compile("Merged into the next change|Not needed"))
        assert clicks.count == 2

    def test_whether_it_is_running_takes_one_click(self, admin, clicks):
        admin.goto(INDEX)

        clicks.on(admin.locator("#content").get_by_role("link", name="Brevo events"))

        expect(admin.locator("#content")).to_contain_text("Events are sent as they become due.")
        assert clicks.count == 1

    def test_to_pause_and_to_resume_takes_three_clicks_and_one(self, admin, clicks):
        admin.goto(APP)

        clicks.on(admin.get_by_role("link", name="Overview"))
        clicks.on(admin.get_by_role("link", name="Pause delivery…"))
        admin.get_by_label("Reason").fill("deploy")
        clicks.on(admin.get_by_role("button", name="Pause delivery"))
        expect(admin.locator("#brevo-state")).to_contain_text("Delivery is paused by admin: “deploy”.")
        assert clicks.count == 3

        clicks.on(admin.get_by_role("button", name="Resume"))
        expect(admin.locator(".messagelist")).to_contain_text("Delivery is resumed")
        assert clicks.count == 4


class ListTests:
    def test_resend_yesterday_from_14_to_16_h_takes_four_clicks(self, admin, served, clicks):
        served.python(FAILED)
        admin.goto(EVENTS)

        clicks.on(admin.get_by_role("button", name="Yesterday"))
        start = admin.get_by_label("from")
        date = start.input_value().partition("T")[0]
        start.fill(f"{date}T14:00")
        admin.get_by_label("to", exact=True).fill(f"{date}T16:00")
        clicks.on(admin.get_by_role("button", name="Apply"))
        rows = admin.locator("#result_list tbody tr")
        expect(rows.filter(has_text="at-15@example.com")).to_have_count(1)
        expect(rows.filter(has_text="at-16@example.com")).to_have_count(0)
        clicks.on(admin.get_by_role("button", name=re.compile(r"Resend all \d+ failed…")))
        clicks.on(admin.get_by_role("button", name=re.compile("^Resend")))

        expect(admin.locator(".messagelist")).to_contain_text("will be sent again.")
        assert clicks.count == 4
        left = [served.status(served.newest(f"at-{hour}@example.com")) for hour in (13, 14, 15, 16)]
        assert [status == "failed" for status in left] == [True, False, False, True]

    def test_the_slowest_cart_updated_of_yesterday_takes_two_clicks(self, admin, served, clicks):
        served.python(SLOW)
        admin.goto(EVENTS)

        clicks.choose(admin.get_by_label("Event", exact=True), "cart_updated")
        clicks.on(admin.get_by_role("button", name="Yesterday"))

        slowest = served.newest("slow@example.com")
        expect(admin.locator(".brevo-finding")).to_have_text(
            f"Slowest: cart_updated #{slowest}, accepted 2 h 5 min after its capture."
        )
        expect(admin.locator(".brevo-tabs [aria-current]")).to_contain_text(re.compile(r"All [\d,]+"))
        assert clicks.count == 2

    def test_a_mail_after_buying_takes_one_search(self, admin, served, clicks):
        admin.goto(EVENTS)

        admin.get_by_label("Search events").fill(served.order())
        clicks.on(admin.get_by_role("button", name="Search"))

        expect(admin.locator(".brevo-finding")).to_contain_text(
            re.compile(r"Brevo accepted order_completed #\d+ .* after cart_updated #\d+\.")
        )
        names = admin.locator("#result_list tbody th a").all_inner_texts()
        assert {"order_completed", "cart_updated"} <= set(names)
        assert clicks.count == 1

    def test_a_file_of_what_is_listed_takes_one_click(self, admin, served, clicks):
        order = served.order()
        admin.goto(f"{EVENTS}?q={order}")
        ticks = admin.locator("#result_list tbody input.action-select")
        shown = ticks.evaluate_all("boxes => boxes.map(box => box.value)")

        with admin.expect_download() as download:
            clicks.on(admin.get_by_role("button", name=re.compile("as CSV")))

        with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["id"] for row in rows] == shown
        assert "order_completed" in {row["event"] for row in rows}
        assert clicks.count == 1

    def test_a_failure_group_is_left_by_its_chip(self, admin, served, clicks):
        admin.goto(f"{EVENTS}?failure={served.failure()}")
        alike = admin.locator("#result_list tbody tr .brevo-became").all_inner_texts()
        assert len(set(alike)) == 1

        clicks.on(admin.locator(".brevo-chip").get_by_role("link", name="Remove"))

        expect(admin.locator(".brevo-chip")).to_have_count(0)
        assert len(set(admin.locator("#result_list tbody tr .brevo-became").all_inner_texts())) > 1
        assert clicks.count == 1
