from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.made import PATIENT, REFUSED, TRIED_OFTEN
from tests.browser.shop import EVENTS, OVERVIEW, SETUP
from tests.browser.test_clicks import contact_of, page_of
from tests.browser.test_tasks import APP

PAPER = {"width": 718, "height": 1000}  # A4 at 96 dots per inch, without its margins
CONTROLS = "button, input, select, textarea, #header, #nav-sidebar, .breadcrumbs, .object-tools, .paginator a, .actions"
# What a screen would scroll, except for texts that are only read out.
CUT_OFF = """() => [...document.querySelectorAll("html, #container, #container *")]
    .filter(element => element.matches("html") || getComputedStyle(element).overflow !== "visible")
    .filter(element => !element.closest(".visually-hidden, svg") && element.checkVisibility())
    .filter(element => element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight)
    .filter(element => !element.matches("html") || element.scrollWidth > element.clientWidth)
    .map(element => `${element.tagName} ${element.className}`)"""
COLOURS = """() => [...document.querySelectorAll("#content :is(h1, h2, h3, p, li, th, td, dt, dd, caption)")]
    .filter(element => element.checkVisibility() && element.innerText.trim())
    .map(element => getComputedStyle(element).color)"""
LIGHT = 0x90  # of a channel: a text that light can't be read on white paper


@pytest.fixture
def paper(open_page, session):
    """A page of an administrator who has chosen the dark theme, on paper."""
    page = open_page(storage_state=session, color_scheme="dark")
    page.add_init_script("localStorage.setItem('theme', 'dark')")
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    return page


def expect_content_only(page, *texts):
    """Check that the page is printed without controls, as a whole, and dark on light."""
    assert page.locator(CONTROLS).filter(visible=True).all() == []
    for text in texts:
        expect(page.locator("#content").get_by_text(text).filter(visible=True).first).to_be_visible()
    assert page.evaluate(CUT_OFF) == []
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    colours = {colour: min(map(int, colour[4:-1].split(", "))) for colour in page.evaluate(COLOURS)}
    assert {colour: least for colour, least in colours.items() if least > LIGHT} == {}


def ask(page, action):
    """Open the confirmation of an action for the first page of the failed events, on a screen."""
    page.emulate_media(media="screen")
    page.goto(f"{EVENTS}?status=failed")
    page.get_by_label("Select all").check()
    page.get_by_label("Action:").select_option(action)
    page.locator(".actions button[name=index]").click()
    page.get_by_role("link", name="Go back").wait_for()
    page.emulate_media(media="print")


class PrintTests:
    def test_of_the_list_has_its_rows_and_the_tab_they_are_of(self, paper):
        paper.goto(f"{EVENTS}?status=failed")

        expect_content_only(paper, "Contact is blocklisted", "cart_updated")
        expect(paper.locator(".brevo-tabs li").filter(visible=True)).to_have_count(1)
        expect(paper.locator(".brevo-tabs li").filter(visible=True)).to_contain_text("Failed")
        expect(paper.locator("#result_list thead")).to_be_visible()

    def test_of_a_filtered_list_says_what_it_was_asked_for(self, paper):
        paper.goto(f"{EVENTS}?q=cart:1&name=cart_updated&response=2&when=finished&from=2020-01-02T03:04")

        asked = paper.locator(".brevo-asked")
        expect(asked).to_be_visible()
        expect(asked).to_contain_text("“cart:1” · cart_updated · 2xx: accepted · Finished: Jan. 2, 2020, 03:04:00 –")
        paper.emulate_media(media="screen")
        expect(asked).to_be_hidden()

    def test_of_a_group_of_failures_names_it(self, paper, served):
        paper.goto(f"{EVENTS}?failure={served.failure()}")

        expect_content_only(paper, "Failure:")
        expect(paper.get_by_role("link", name="Remove")).to_be_hidden()

    def test_of_the_overview_has_charts_and_their_figures(self, paper):
        paper.goto(OVERVIEW)

        expect_content_only(paper, "Last 30 days", "Most frequent failures", "Delivery log")
        for chart in ("Last 24 hours", "Last 30 days"):
            region = paper.get_by_role("region", name=chart)
            expect(region.locator("svg.brevo-chart")).to_be_visible()
            expect(region.locator("table")).to_be_visible()

    def test_of_an_event_unfolds_its_attempts(self, paper, served):
        served.python(TRIED_OFTEN)
        paper.goto(page_of(served.newest(PATIENT)))

        expect_content_only(paper, "Timeline", "What was sent", "Same contact")
        for time in paper.locator(".brevo-folded li").all():
            expect(time).to_be_visible()

    def test_of_a_contact_has_each_cart(self, paper, served):
        paper.goto(contact_of(served.event("failed")))

        expect_content_only(paper, "Times in")
        for card in paper.locator("section.brevo-card").all():
            expect(card).to_be_visible()
        expect(paper.locator("#content div.brevo-card")).to_be_hidden()

    @pytest.mark.parametrize(("action", "text"), [("resend", "will be resent"), ("erase", "This cannot be undone.")])
    def test_of_a_confirmation_has_what_would_be_done(self, paper, served, action, text):
        served.python(REFUSED)
        ask(paper, action)

        expect_content_only(paper, text, "The oldest was captured")

    @pytest.mark.parametrize(("path", "text"), [(SETUP, "What a reminder needs"), (APP, "Events are sent")])
    def test_of_other_pages(self, paper, path, text):
        paper.goto(path)

        expect_content_only(paper, text)

    def test_of_a_long_list_takes_several_sheets(self, paper):
        paper.goto(EVENTS)

        assert paper.pdf(format="A4").count(b"/Type /Page\n") > 1
