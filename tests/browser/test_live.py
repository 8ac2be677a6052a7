from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import shop
from tests.browser.shop import EVENTS, OVERVIEW

CAPTURE = """
from brevo_events import track
track({name!r}, {email!r}, delay=3600)
"""
PAUSE = "Pause updates"


@pytest.fixture(scope="module")
def served(history, tmp_path_factory):
    """A shop of its own, in which nothing else happens."""
    with shop.serving(tmp_path_factory.mktemp("shop"), history) as served:
        yield served


def capture(served, name="live", email="live@example.com"):
    """Capture an event that goes out in an hour, and return its number."""
    served.python(CAPTURE.format(name=name, email=email))
    return served.newest(email)


def updates(page, when):
    """Let the page look again at once, as when somebody comes back to its tab."""
    with page.expect_response(lambda response: response.request.resource_type == "fetch"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    when()


class EventTests:
    def test_of_an_unfinished_event_shows_its_end_and_looks_no_more(self, admin, served):
        number = capture(served)
        admin.goto(f"{EVENTS}{number}/change/")
        expect(admin.get_by_role("button", name=PAUSE)).to_be_visible()

        served.python(f"from brevo_events.models import OutboxEvent; OutboxEvent.objects.filter(pk={number}).cancel()")

        updates(admin, lambda: expect(admin.locator("h1 .brevo-status")).to_have_text("Cancelled"))
        expect(admin.locator(".brevo-answer")).to_contain_text("cancelled it")
        expect(admin.locator(".brevo-step").last).to_contain_text("Cancelled")
        expect(admin.get_by_role("button", name="Cancel event")).to_have_count(0)
        expect(admin.get_by_role("button", name=PAUSE)).to_be_hidden()

    def test_of_a_finished_event_is_not_looked_at_again(self, admin, served):
        admin.goto(f"{EVENTS}{served.event('failed')}/change/")

        expect(admin.get_by_role("button", name=PAUSE)).to_have_count(0)


class ListTests:
    def test_tells_of_new_events_and_moves_none(self, admin, served):
        admin.goto(EVENTS)
        rows = admin.locator("#result_list tbody tr")
        first = rows.first.inner_text()
        capture(served)

        news = admin.get_by_role("button", name="1 new event")
        updates(admin, lambda: expect(news).to_be_visible())
        capture(served)
        updates(admin, lambda: expect(admin.get_by_role("button", name="2 new events")).to_be_visible())
        assert rows.first.inner_text() == first

        admin.get_by_role("button", name="2 new events").click()
        expect(rows.first).to_contain_text("live")
        expect(admin.locator("[data-news]")).to_be_hidden()


class OverviewTests:
    def test_shows_state_and_figures_as_they_become(self, admin, served):
        admin.goto(OVERVIEW)
        waiting = admin.locator(".brevo-tiles dd").first
        before = int(waiting.inner_text())
        capture(served)

        updates(admin, lambda: expect(waiting).to_have_text(str(before + 1)))
        served.python("from brevo_events.models import Gate; Gate.load().pause(by='bob', reason='deploy')")
        updates(admin, lambda: expect(admin.locator("#brevo-state")).to_contain_text("paused by bob: “deploy”"))
        served.python("from brevo_events.models import Gate; Gate.load().resume(by='bob')")
        updates(admin, lambda: expect(admin.locator("#brevo-state")).not_to_contain_text("paused"))

    def test_looks_by_itself_until_it_is_paused(self, admin, served):
        admin.goto(OVERVIEW)
        looks = []
        admin.on("request", lambda request: looks.append(request) if request.resource_type == "fetch" else None)
        with admin.expect_request(lambda request: request.resource_type == "fetch"):
            pass

        admin.get_by_role("button", name=PAUSE).click()
        expect(admin.get_by_role("button", name=PAUSE)).to_have_attribute("aria-pressed", "true")
        seen = len(looks)
        admin.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        admin.wait_for_timeout(6000)
        assert len(looks) == seen

    def test_moves_nothing_under_the_pointer(self, admin, served):
        admin.goto(OVERVIEW)
        admin.locator("#brevo-hours").hover()
        served.python("from brevo_events.models import Gate; Gate.load().pause(by='bob')")
        below = admin.locator("#brevo-hours").bounding_box()

        try:
            updates(admin, lambda: admin.wait_for_timeout(300))
            assert admin.locator("#brevo-hours").bounding_box() == below
            admin.mouse.move(5, 5)
            updates(admin, lambda: expect(admin.locator("#brevo-state")).to_contain_text("paused by bob"))
        finally:
            served.python("from brevo_events.models import Gate; Gate.load().resume(by='bob')")

    def test_says_if_the_site_does_not_answer_and_goes_on(self, browser, session, served):
        # Without the guard of the other tests: the browser complains of what is missing.
        page = browser.new_page(base_url=served.url, storage_state=session)
        page.goto(OVERVIEW)
        complaint = page.get_by_text("No answer: this page may be out of date.")
        page.route(f"**{OVERVIEW}", lambda route: route.abort())

        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(complaint).to_be_visible()
        page.unroute(f"**{OVERVIEW}")
        updates(page, lambda: expect(complaint).to_be_hidden())
        page.context.clear_cookies()  # now it wants a login
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(complaint).to_be_visible()
        page.context.close()

    def test_without_script_offers_nothing_of_it(self, open_page, session):
        page = open_page(storage_state=session, java_script_enabled=False)
        page.goto(OVERVIEW)

        expect(page.get_by_role("button", name=PAUSE)).to_be_hidden()
