"""The same tasks as in ``test_tasks.py``, without a mouse."""

from __future__ import annotations

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.browser import shop
from tests.browser.made import FAILED, SLOW
from tests.browser.shop import EVENTS
from tests.browser.test_clicks import page_of
from tests.browser.test_tasks import APP, INDEX

MOST_TABS = 90
IS_FOCUSED = "element => element === document.activeElement"
INDICATOR = """element => {
    const style = getComputedStyle(element);
    const outline = style.outlineStyle === "none" || style.outlineWidth === "0px" ? "" : style.outline;
    return [outline, style.boxShadow === "none" ? "" : style.boxShadow];
}"""
IS_IN_SIGHT = """element => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
}"""
TWO_CONTACTS = """
from brevo_events import track
from brevo_events.models import OutboxEvent
for name in ("una", "uma"):
    track("viewed", f"{name}@keyboard.example", object_id="keyboard:1")
OutboxEvent.objects.filter(object_id="keyboard:1").cancel()
"""


class Keys:
    """Someone who has only a keyboard, and must see where they are."""

    def __init__(self, page):
        self._page = page

    def press(self, *names):
        """Press keys, one after the other."""
        for name in names:
            self._page.keyboard.press(name)

    def write(self, text):
        """Type into whatever has the focus."""
        self._page.keyboard.type(text)

    def to(self, locator, key="Tab", most=MOST_TABS):
        """Press Tab, or Shift+Tab, until an element has the focus; it must show that it has."""
        expect(locator).to_have_count(1)
        before = locator.evaluate(INDICATOR)
        for _ in range(most):
            self.press(key)
            if locator.evaluate(IS_FOCUSED):
                break
        else:
            pytest.fail(f"{key} doesn't reach {locator}.")
        assert any(new and new != old for new, old in zip(locator.evaluate(INDICATOR), before, strict=True)), locator
        assert locator.evaluate(IS_IN_SIGHT), locator

    def activate(self, locator):
        """Go to a link or button, and press Enter there."""
        self.to(locator)
        self.press("Enter")

    def choose(self, locator, option):
        """Go to a list, and type the beginning of an option."""
        self.to(locator)
        self.write(option)
        expect(locator.locator("option:checked")).to_have_text(re.compile(f"^{re.escape(option)}"))


@pytest.fixture(scope="module")
def served(history, tmp_path_factory):
    """A shop of its own, because the other tests make and resend the same events."""
    with shop.serving(tmp_path_factory.mktemp("shop"), history) as served:
        yield served


@pytest.fixture
def keys(admin):
    return Keys(admin)


class AnswerTests:
    def test_finds_why_a_contact_got_no_reminder(self, admin, served, keys):
        number, email = served.superseded()
        admin.goto(EVENTS)

        keys.to(admin.get_by_label("Search events"))
        keys.write(email)
        keys.press("Enter")
        row = admin.locator("#result_list tbody tr").filter(has=admin.locator(f"th a[href*='/{number}/change/']"))
        expect(row).to_contain_text("Not needed")
        keys.activate(row.locator("th a"))

        expect(admin.locator(".brevo-answer")).to_contain_text(re.compile("Merged into the next change|Not needed"))
        # On to the rest of what happened to the contact.
        keys.activate(admin.get_by_role("link", name=email, exact=True))
        expect(admin.get_by_role("heading", level=1)).to_contain_text(email)

    def test_finds_why_there_was_a_mail_after_buying(self, admin, served, keys):
        admin.goto(EVENTS)

        keys.to(admin.get_by_label("Search events"))
        keys.write(served.order())
        keys.activate(admin.get_by_role("button", name="Search"))

        expect(admin.locator(".brevo-finding")).to_contain_text(
            re.compile(r"Brevo accepted order_completed #\d+ .* after cart_updated #\d+\.")
        )

    def test_finds_out_whether_it_is_running(self, admin, keys):
        admin.goto(INDEX)

        keys.activate(admin.locator("#content").get_by_role("link", name="Brevo events"))
        expect(admin.locator("#content")).to_contain_text("Events are sent as they become due.")
        keys.activate(admin.locator("#content").get_by_role("link", name="Overview"))

        expect(admin.locator("#brevo-now")).to_contain_text("Events are sent as they become due.")

    def test_pauses_with_a_reason_and_resumes(self, admin, keys):
        admin.goto(APP)

        keys.activate(admin.locator("#content").get_by_role("link", name="Overview"))
        keys.activate(admin.get_by_role("link", name="Pause delivery…"))
        keys.to(admin.get_by_label("Reason"))
        keys.write("deploy")
        keys.to(admin.get_by_role("radio", checked=True))
        first = admin.locator("input[type=radio]:focus").input_value()
        keys.press("ArrowDown")
        assert admin.locator("input[type=radio]:checked").input_value() != first
        keys.press("ArrowUp")
        keys.activate(admin.get_by_role("button", name="Pause delivery"))
        expect(admin.locator("#brevo-state")).to_contain_text("Delivery is paused by admin: “deploy”.")

        keys.activate(admin.get_by_role("button", name="Resume"))
        expect(admin.locator(".messagelist")).to_contain_text("Delivery is resumed")


class ListTests:
    @pytest.mark.parametrize("width", [1280, 640])
    def test_filters_by_a_span_and_a_name(self, admin, served, keys, width):
        served.python(FAILED)
        admin.set_viewport_size({"width": width, "height": 900})
        admin.goto(EVENTS)

        if width < 760:
            keys.activate(admin.locator("summary", has_text="Filter"))
        keys.choose(admin.get_by_label("Event", exact=True), "viewed")
        keys.activate(admin.get_by_role("button", name="Yesterday"))
        start, end = admin.get_by_label("from"), admin.get_by_label("to", exact=True)
        expect(admin.get_by_role("button", name="Yesterday")).to_have_attribute("aria-pressed", "true")
        date, today = (field.input_value().partition("T")[0] for field in (start, end))
        keys.to(start)
        self._write_time(keys, "14")
        keys.to(end)
        self._write_time(keys, "16")
        assert [start.input_value(), end.input_value()] == [f"{date}T14:00", f"{today}T16:00"]
        keys.activate(admin.get_by_role("button", name="Apply"))

        rows = admin.locator("#result_list tbody tr")
        expect(rows.filter(has_text="at-14@example.com")).not_to_have_count(0)
        expect(rows.filter(has_text="at-13@example.com")).to_have_count(0)
        assert set(rows.locator("th a").all_inner_texts()) == {"viewed"}
        keys.activate(admin.get_by_role("link", name="Clear filters"))
        expect(start).to_have_value("")

    def _write_time(self, keys, hour):
        keys.press("ArrowRight", "ArrowRight", "ArrowRight")
        keys.write(f"{hour}00")

    def test_finds_the_slowest_cart_updated_of_yesterday(self, admin, served, keys):
        served.python(SLOW)
        admin.goto(EVENTS)

        keys.choose(admin.get_by_label("Event", exact=True), "cart_updated")
        keys.activate(admin.get_by_role("button", name="Yesterday"))
        slowest = served.newest("slow@example.com")
        expect(admin.locator(".brevo-finding")).to_contain_text(f"Slowest: cart_updated #{slowest}")
        keys.activate(admin.locator(".brevo-finding a"))

        expect(admin.get_by_role("heading", level=1)).to_contain_text(f"#{slowest}")

    def test_exports_what_is_listed(self, admin, served, keys):
        admin.goto(f"{EVENTS}?q={served.order()}")
        listed = admin.locator("#result_list tbody th a").all_inner_texts()

        with admin.expect_download() as download:
            keys.activate(admin.get_by_role("button", name=re.compile("as CSV")))

        with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
            assert [row["event"] for row in csv.DictReader(file)] == listed

    def test_goes_to_another_tab_and_another_page(self, admin, keys):
        admin.goto(EVENTS)

        keys.activate(admin.get_by_role("navigation", name="Status").get_by_role("link", name="Accepted"))
        expect(admin.locator(".brevo-tabs [aria-current]")).to_contain_text("Accepted")
        # After the rows, each of which has a box and a link or two. Newer Djangos call it a button.
        keys.to(admin.get_by_role("navigation", name="Pages").get_by_text("2", exact=True), most=200)
        keys.press("Enter")
        expect(admin).to_have_url(re.compile("p=2"))


class FailureTests:
    def test_shows_a_group_and_resends_all_of_it(self, admin, group, keys):
        keys.activate(group.get_by_role("link", name="Show"))
        expect(admin.locator("#result_list tbody tr")).to_have_count(2)
        keys.activate(admin.get_by_role("button", name=re.compile(r"^Resend")))
        expect(admin.get_by_role("link", name="Go back")).to_be_visible()
        keys.activate(admin.locator(".submit-row").get_by_role("button", name=re.compile("^Resend")))

        expect(admin.locator(".messagelist")).to_contain_text("2 events will be sent again.")


class EraseTests:
    def test_erases_a_contact(self, admin, served, keys):
        pk = served.event("sent", 5)
        admin.goto(page_of(pk))

        keys.activate(admin.get_by_role("button", name="Erase contact"))
        expect(admin.get_by_text("1 contact: ")).to_be_visible()
        keys.activate(admin.get_by_role("button", name="for good"))

        expect(admin.locator(".messagelist")).to_contain_text("erased.")

    def test_erases_two_contacts_after_typing_their_number(self, admin, served, keys):
        served.python(TWO_CONTACTS)
        admin.goto(f"{EVENTS}?q=keyboard:1")
        ticks = admin.locator("#result_list tbody input.action-select")
        expect(ticks).to_have_count(2)

        keys.choose(admin.get_by_label("Action:"), "Erase")
        for number in range(2):
            keys.to(ticks.nth(number))
            keys.press("Space")
        keys.to(admin.locator(".actions button[name=index]"), "Shift+Tab")
        keys.press("Enter")
        keys.to(admin.get_by_label("To erase 2 contacts, type 2:"))
        keys.write("2")
        keys.activate(admin.get_by_role("button", name="for good"))

        expect(admin.locator(".messagelist")).to_contain_text("erased.")
        admin.goto(f"{EVENTS}?q=una@keyboard.example")
        expect(admin.locator("#result_list tbody tr")).to_have_count(0)
