from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.made import REFUSED
from tests.browser.shop import EVENTS, OVERVIEW, reload_until
from tests.browser.test_clicks import page_of, reload_until_sent

HELD = 2000  # milliseconds, in which a resent event would have gone out several times over
BANNER = "Delivery is paused by "


def resend(page, pk):
    page.goto(page_of(pk))
    page.get_by_role("button", name="Resend").click()
    page.get_by_role("button", name="Resend").click()
    expect(page.get_by_text("1 event will be sent again.")).to_be_visible()


class PauseTests:
    def test_holds_everything_back_until_delivery_is_resumed(self, admin, served):
        pk = served.resendable()
        admin.goto(OVERVIEW)
        expect(admin.get_by_text(BANNER)).to_have_count(0)

        admin.get_by_role("link", name="Pause delivery…").click()
        admin.get_by_label("Reason").fill("deploy 4.2")
        admin.get_by_role("button", name="Pause delivery").click()
        expect(admin.get_by_text(BANNER)).to_be_visible()
        expect(admin.locator(".brevo-banner")).to_contain_text("deploy 4.2")
        resend(admin, pk)
        admin.wait_for_timeout(HELD)
        assert served.status(pk) == "pending"
        admin.goto(EVENTS)
        expect(admin.get_by_text(BANNER)).to_be_visible()
        admin.get_by_role("link", name="See the overview").click()

        admin.get_by_role("button", name="Resume delivery").click()
        expect(admin.get_by_text("Delivery is resumed: due events are sent.")).to_be_visible()
        expect(admin.get_by_text(BANNER)).to_have_count(0)
        admin.goto(page_of(pk))
        reload_until_sent(admin)


class ChartTests:
    def test_has_bars_of_the_colours_of_the_legend(self, admin, served):
        served.python(REFUSED)
        admin.goto(OVERVIEW)

        charts = admin.locator("svg.brevo-chart")
        reload_until(admin, charts.first.locator(".brevo-fill-failed").count)
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
        expect(days.locator(".brevo-legend")).to_contain_text(f"{total} accepted")

    def test_shows_the_figures_of_a_column_at_once_without_script(self, open_page, session):
        page = open_page(storage_state=session, java_script_enabled=False)
        page.goto(OVERVIEW)
        column = page.locator("svg.brevo-chart").last.locator(".brevo-column").nth(10)
        expect(column.locator(".brevo-value")).to_be_hidden()

        column.hover()

        expect(column.locator(".brevo-value")).to_be_visible()
        expect(column.locator(".brevo-value")).to_contain_text("accepted")
        link = column.get_by_role("link", name="accepted")
        assert link.get_attribute("aria-label") in column.locator(".brevo-value").text_content()

    def test_has_a_gutter_beside_the_bars_and_failures_below_the_line(self, admin):
        for width in (390, 1280):
            admin.set_viewport_size({"width": width, "height": 900})
            admin.goto(OVERVIEW)
            days = admin.get_by_role("region", name="Last 30 days")

            numbers = [box(text) for text in days.locator(".brevo-gutter text").all()]
            plot, zero = box(days.locator("svg.brevo-chart")), box(days.locator(".brevo-zero"))["y"]
            assert max(number["x"] + number["width"] for number in numbers) <= plot["x"]
            assert all(box(bar)["y"] >= zero - 1 for bar in days.locator(".brevo-fill-failed").all()[:-1])
            assert all(box(bar)["y"] < zero for bar in days.locator(".brevo-column .brevo-fill-sent").all())

    def test_is_seen_in_forced_colours(self, open_page, session):
        page = open_page(storage_state=session, forced_colors="active")
        page.goto(OVERVIEW)
        fill = "element => getComputedStyle(element).fill"
        chart = page.locator("svg.brevo-chart").last

        colours = {chart.locator(f".brevo-fill-{kind}").first.evaluate(fill) for kind in ("sent", "failed")}
        assert len(colours | {page.evaluate("getComputedStyle(document.body).backgroundColor")}) == 3


def box(locator):
    return locator.bounding_box()
