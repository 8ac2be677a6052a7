from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.shop import EVENTS, OVERVIEW, SETUP
from tests.browser.test_clicks import contact_of, page_of

HIDDEN_WIDTH = "element => element.scrollWidth - element.clientWidth"


class LayoutTests:
    @pytest.mark.parametrize("width", [1280, 1600, 1800])
    def test_shows_the_list_as_a_whole(self, admin, width):
        admin.set_viewport_size({"width": width, "height": 900})
        for query in ("", "?status=failed"):
            admin.goto(EVENTS + query)

            assert admin.locator(".brevo-rows").evaluate(HIDDEN_WIDTH) == 0

    # 640 pixels are a window of 1280 at 200 %.
    @pytest.mark.parametrize("width", [375, 640, 768, 1280])
    def test_hides_nothing_beside_the_window(self, admin, served, width):
        admin.set_viewport_size({"width": width, "height": 900})
        for page in (
            EVENTS,
            f"{EVENTS}?q=nothing",
            OVERVIEW,
            SETUP,
            page_of(served.event("failed")),
            contact_of(served.event("failed")),
        ):
            admin.goto(page)

            assert (page, admin.locator("html").evaluate(HIDDEN_WIDTH)) == (page, 0)

    @pytest.mark.parametrize("width", [390, 1280])
    def test_wraps_the_longest_name_and_address(self, admin, served, width):
        email = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 59}.example"
        served.python(f"from brevo_events import track; track('n' * 255, {email!r})")
        event = served.newest(email)
        admin.set_viewport_size({"width": width, "height": 900})
        try:
            for page in (page_of(event), contact_of(event)):
                admin.goto(page)

                assert (page, admin.locator("html").evaluate(HIDDEN_WIDTH)) == (page, 0)
        finally:
            served.python(f"from brevo_events.models import *; OutboxEvent.objects.filter(email={email!r}).delete()")

    def test_has_one_link_to_all_events_beside_the_title(self, admin):
        admin.goto(OVERVIEW)

        expect(admin.get_by_role("link", name="All events")).to_have_count(1)
        title, link = (admin.locator(which).first.bounding_box() for which in ("#content h1", ".object-tools a"))
        assert abs(title["y"] - link["y"]) < 20
        assert link["x"] > 1000

    def test_has_the_breadcrumbs_of_the_admin_on_each_page(self, admin, served):
        colours = set()
        for page in (EVENTS, OVERVIEW, SETUP, page_of(served.event("failed"))):
            admin.goto(page)
            colours.add(admin.locator(".breadcrumbs").evaluate("element => getComputedStyle(element).backgroundColor"))
        admin.get_by_role("button", name="Resend").click()
        admin.get_by_role("link", name="Go back").wait_for()
        colours.add(admin.locator(".breadcrumbs").evaluate("element => getComputedStyle(element).backgroundColor"))

        assert len(colours) == 1
        assert "rgba(0, 0, 0, 0)" not in colours

    def test_has_the_buttons_of_an_event_in_one_line(self, admin, served):
        admin.goto(page_of(served.event("failed")))

        tops = {round(tool.bounding_box()["y"]) for tool in admin.locator(".brevo-buttons :is(a, button)").all()}
        assert max(tops) - min(tops) <= 1
