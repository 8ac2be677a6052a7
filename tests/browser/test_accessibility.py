from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.shop import EVENTS, OVERVIEW, SETUP
from tests.browser.test_clicks import contact_of, page_of
from tests.browser.test_visit import add, sign_in, told

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
VARIANTS = [("light", WIDE), ("dark", WIDE), ("light", PHONE)]
# What Django draws by itself: in 5.2, links in the breadcrumbs that only their colour tells from the text, and a search
# field whose label is a picture.
DJANGO = [["div.breadcrumbs"], ["#searchbar"]]
# The nodes of what is in order are left out, since they take long to carry over.
OPTIONS = {"resultTypes": ["violations"]}
# Django lets the colours of links fade: halfway they have less contrast. Within closed details some never end.
SETTLED = """
const ends = Promise.allSettled(document.getAnimations().map(animation => animation.finished));
Promise.race([ends, new Promise(resolve => setTimeout(resolve, 2000))])
"""
axe = Axe()


def complaints(page):
    """Return what is serious on the page as it is now, in light and dark and on a phone."""
    found = []
    for scheme, size in VARIANTS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        page.evaluate(SETTLED)
        for violation in axe.run(page, {"exclude": DJANGO}, OPTIONS).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = [f"{node['html']}: {node['failureSummary']}" for node in violation["nodes"]]
                found.append("\n".join([f"{scheme}, {size['width']} px: {violation['id']}", *nodes]))
    page.set_viewport_size(WIDE)
    return found


# To measure, axe writes styles into the page, which the policy forbids.
@pytest.fixture
def page(open_page):
    return open_page(bypass_csp=True)


@pytest.fixture
def admin(open_page, session):
    return open_page(storage_state=session, bypass_csp=True)


class AdminTests:
    def test_overview_and_banner(self, admin):
        admin.goto(OVERVIEW)
        admin.get_by_text("The same figures as a table").last.click()
        assert complaints(admin) == []

        admin.get_by_role("link", name="Pause delivery…").click()
        assert complaints(admin) == []
        admin.get_by_role("button", name="Pause delivery").click()
        expect(admin.get_by_text("Delivery is paused by")).to_be_visible()
        assert complaints(admin) == []
        admin.goto(f"{EVENTS}?status=waiting")
        assert complaints(admin) == []

        admin.goto(OVERVIEW)
        admin.get_by_role("button", name="Resume delivery").click()
        expect(admin.get_by_text("Delivery is resumed")).to_be_visible()

    @pytest.mark.parametrize("query", ["?name=cart_updated&span=month", "?status=superseded", "?q=nobody", "group"])
    def test_list(self, admin, served, query):
        admin.goto(f"{EVENTS}?failure={served.failure()}" if query == "group" else EVENTS + query)

        assert complaints(admin) == []

    def test_setup_before_and_after_a_call(self, admin):
        admin.goto(SETUP)
        assert complaints(admin) == []

        admin.get_by_role("button", name="Check with Brevo").click()
        expect(admin.get_by_text("Brevo's host answers")).to_be_visible()
        assert complaints(admin) == []

    @pytest.mark.parametrize("status", ["sent", "pending", "failed", "cancelled"])
    def test_page_of_an_event(self, admin, served, status):
        admin.goto(page_of(served.event(status)))
        expect(admin.locator(".brevo-timeline")).to_contain_text("Captured")
        for text in ("JSON", "As a curl command"):
            admin.get_by_text(text, exact=True).click()

        assert complaints(admin) == []

    def test_page_of_a_contact(self, admin, served):
        admin.goto(contact_of(served.event("failed")))
        expect(admin.get_by_role("heading", level=1)).to_contain_text("@")

        assert complaints(admin) == []

    @pytest.mark.parametrize(("status", "button"), [("failed", "Resend"), ("pending", "Cancel"), ("sent", "Erase")])
    def test_confirmation(self, admin, served, status, button):
        admin.goto(page_of(served.event(status)))
        admin.get_by_role("button", name=button).click()
        expect(admin.get_by_role("link", name="Go back")).to_be_visible()

        assert complaints(admin) == []

    def test_confirmation_with_options(self, admin):
        admin.goto(f"{EVENTS}?status=sent")
        admin.get_by_label("Select all").check()
        admin.get_by_label("Action:").select_option("resend")
        admin.locator(".actions button[name=index]").click()
        expect(admin.get_by_text("Left out")).to_be_visible()

        assert complaints(admin) == []


class ShopTests:
    def test_pages_of_a_stranger(self, page):
        for path in ("/", "/products/brume-mug/", "/cart/", "/account/"):
            page.goto(path)
            assert (path, complaints(page)) == (path, [])

    def test_what_brevo_would_do(self, page):
        sign_in(page, "gil@example.com", "Gil")
        add(page, "Brume mug")
        expect(page.locator(".verdict")).to_contain_text("Reminder to Gil")
        assert complaints(page) == []

    def test_pages_of_a_customer(self, page):
        sign_in(page, "fay@flaky.example")
        add(page, "Brume mug")
        expect(told(page, "cart_updated")).to_contain_text("Next attempt")
        assert complaints(page) == []
        page.goto("/checkout/")
        assert complaints(page) == []
        page.get_by_role("button", name="Place the order").click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        assert complaints(page) == []
        page.goto("/account/")
        assert complaints(page) == []
