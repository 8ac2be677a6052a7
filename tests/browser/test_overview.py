from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.shop import EVENTS, OVERVIEW
from tests.browser.test_clicks import page_of, reload_until_sent

HELD = 2000  # milliseconds, in which a resent event would have gone out several times over
BANNER = "Delivery is paused: nothing goes out."


def resend(page, pk):
    page.goto(page_of(pk))
    page.get_by_role("button", name="Resend").click()
    page.get_by_role("button", name="Resend").click()
    expect(page.get_by_text("1 event is due again.")).to_be_visible()


@pytest.mark.slow
class PauseTests:
    def test_holds_everything_back_until_delivery_is_resumed(self, admin, served):
        pk = served.event("failed")
        admin.goto(OVERVIEW)
        expect(admin.get_by_text(BANNER)).to_have_count(0)

        admin.get_by_role("button", name="Pause delivery").click()
        expect(admin.get_by_text(BANNER)).to_be_visible()
        expect(admin.locator(".brevo-gate")).to_contain_text("Paused by an operator")
        resend(admin, pk)
        admin.wait_for_timeout(HELD)
        assert served.status(pk) == "pending"
        admin.goto(EVENTS)
        expect(admin.get_by_text(BANNER)).to_be_visible()
        admin.get_by_role("link", name="See the overview").click()

        admin.get_by_role("button", name="Resume delivery").click()
        expect(admin.get_by_text("Delivery is resumed: what is due goes out.")).to_be_visible()
        expect(admin.get_by_text(BANNER)).to_have_count(0)
        admin.goto(page_of(pk))
        reload_until_sent(admin)


@pytest.mark.slow
class ChartTests:
    def test_has_bars_of_the_colours_of_the_legend(self, admin):
        admin.goto(OVERVIEW)

        charts = admin.locator("svg.brevo-chart")
        expect(charts).to_have_count(2)
        for number in range(2):
            for kind in ("sent", "failed", "waiting"):
                bars = charts.nth(number).locator(f".brevo-fill-{kind}")
                assert bars.count() > 0
                for box in bars.evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().toJSON())"):
                    assert box["height"] > 0
                    assert box["width"] > 0
                key = admin.locator(f".brevo-legend .brevo-fill-{kind}").nth(number)
                colour = "element => getComputedStyle(element).fill"
                assert bars.first.evaluate(colour) == key.evaluate(colour) != "rgb(0, 0, 0)"

    def test_has_the_same_figures_as_a_table(self, admin):
        admin.goto(OVERVIEW)
        days = admin.get_by_role("region", name="Last 30 days")
        expect(days.locator("table")).to_be_hidden()

        days.get_by_text("The same figures as a table").click()

        expect(days.locator("table")).to_be_visible()
        cells = days.locator("tbody td:nth-of-type(1)").all_inner_texts()
        assert len(cells) == 30
        total = f"{sum(int(cell.replace(',', '')) for cell in cells):,}"
        expect(days.locator(".brevo-legend")).to_contain_text(f"{total} sent")
