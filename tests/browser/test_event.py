from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.made import PATIENT, TRIED_OFTEN
from tests.browser.shop import EVENTS, OVERVIEW
from tests.browser.test_clicks import contact_of, page_of
from tests.browser.test_visit import add, sign_in, told

MOST_REQUESTS = 12  # the page, six files of Django's, four of ours, and a picture in the navigation


class EventTests:
    def test_loads_no_more_than_it_needs(self, admin, served):
        requests = []
        admin.on("request", lambda request: requests.append(request.url))

        admin.goto(page_of(served.event("sent")), wait_until="networkidle")

        assert len(requests) <= MOST_REQUESTS, requests
        assert not [url for url in requests if "jquery" in url or "jsi18n" in url]

    def test_says_all_of_it_without_script(self, open_page, session, served):
        page = open_page(storage_state=session, java_script_enabled=False)
        page.goto(page_of(served.event("failed")))

        expect(page.locator(".brevo-answer")).to_contain_text("refused")
        expect(page.locator("#brevo-body")).to_be_hidden()
        page.get_by_text("JSON", exact=True).click()
        expect(page.locator("#brevo-body")).to_be_visible()
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)

    def test_begins_with_the_answer_above_the_fold_and_keeps_erase_away(self, admin, served):
        admin.goto(page_of(served.event("failed")))

        answer, timeline = (admin.locator(each).bounding_box() for each in (".brevo-answer", ".brevo-timeline"))
        assert answer["y"] < timeline["y"] < 320
        resend = admin.get_by_role("button", name="Resend").bounding_box()
        erase = admin.get_by_role("button", name="Erase contact").bounding_box()
        assert erase["y"] - resend["y"] > 150
        red = admin.get_by_role("button", name="Erase contact").evaluate("e => getComputedStyle(e).backgroundColor")
        assert red == "rgb(186, 33, 33)"

    def test_unfolds_what_is_alike(self, admin, served):
        served.python(TRIED_OFTEN)
        admin.goto(page_of(served.newest(PATIENT)))

        times = admin.locator(".brevo-folded li")
        expect(times.first).to_be_hidden()
        admin.get_by_text("10 more like this").click()
        expect(times).to_have_count(10)
        expect(times.first).to_be_visible()

    def test_of_a_right_to_left_page_hides_nothing(self, admin, served):
        admin.goto(page_of(served.event("failed")))
        admin.evaluate("document.documentElement.dir = 'rtl'")

        assert admin.locator("html").evaluate("element => element.scrollWidth - element.clientWidth") == 0
        step = admin.locator(".brevo-step-what").first.bounding_box()
        when = admin.locator(".brevo-step-when").first.bounding_box()
        assert when["x"] < step["x"]


class StoryTests:
    """Did Ada get her reminder, and why not? Two clicks."""

    def test_a_contact_shows_why_there_was_no_reminder(self, page, admin):
        sign_in(page, "gwen@example.com", "Gwen")
        add(page, "Brume mug")
        expect(told(page, "cart_updated")).to_contain_text("Accepted · 204")
        page.goto("/checkout/")
        page.get_by_role("button", name="Place the order").click()
        expect(told(page, "order_completed")).to_contain_text("Accepted · 204")

        admin.goto(f"{EVENTS}?q=gwen@example.com")
        admin.locator("#result_list tbody tr").first.get_by_role("link", name="order_completed").click()
        admin.get_by_role("link", name="gwen@example.com").click()

        expect(admin.locator(".brevo-verdict")).to_contain_text("Brevo has known about the order since")
        expect(admin.locator(".brevo-verdict")).to_contain_text("after the last cart update")

    def test_an_event_names_the_order_that_made_it_needless(self, page, admin):
        sign_in(page, "hank@example.com", "Hank")
        # On a slow machine, the order might come only after the cart has been sent.
        admin.goto(f"{OVERVIEW}pause/")
        admin.get_by_role("button", name="Pause delivery").click()
        try:
            add(page, "Brume mug")
            page.goto("/checkout/")
            page.get_by_role("button", name="Place the order").click()
            expect(told(page, "order_completed")).to_be_visible()
        finally:
            admin.goto(OVERVIEW)
            admin.get_by_role("button", name="Resume delivery").click()
        expect(told(page, "order_completed")).to_contain_text("Accepted · 204")
        admin.goto(f"{EVENTS}?q=hank@example.com")
        admin.locator("#result_list tbody tr", has_text="cart_updated").last.get_by_role(
            "link", name="cart_updated"
        ).click()

        expect(admin.locator(".brevo-answer")).to_contain_text("Not needed: order_completed")
        admin.locator(".brevo-answer").get_by_role("link").click()
        expect(admin.locator("h1")).to_contain_text("order_completed")
        expect(admin.locator(".brevo-step").first.get_by_role("link")).to_contain_text("order")

    def test_exports_a_contact(self, admin, served):
        admin.goto(contact_of(served.event("sent", 3)))

        with admin.expect_download() as download:
            admin.get_by_role("button", name="Export contact").click()

        assert download.value.suggested_filename.startswith("contact-")
