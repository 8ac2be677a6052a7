from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from brevo_events.admin.charts import Band, Bar, Series, bar_chart, number, round_step

SERIES = [Series("sent", "sent"), Series("failed", "failed", is_below=True), Series("waiting", "waiting")]
ZERO, BOTTOM = 218, 218  # the y of no value and of the lower end, if nothing failed
MARKUP = "<script>alert('1')</script>&\""


def drawn(*values, **more):
    bars = [Bar(f"bar {place}", (*value, 0)[:3]) for place, value in enumerate(values)]
    return ET.fromstring(chart(bars, **more)).find("svg[@role]")


def chart(bars, series=SERIES, key="k", title="Title", description="Description", bands=()):
    """Return the markup of a chart, as the overview includes it."""
    context = {"chart": bar_chart(bars, series, bands), "key": key, "title": title, "description": description}
    return render_to_string("admin/brevo_events/outboxevent/chart.html", context)


def rects(svg, key):
    return svg.findall(f".//rect[@class='brevo-fill-{key}']")


def bottom(rect):
    return float(rect.get("y")) + float(rect.get("height"))


def top(rect):
    return float(rect.get("y"))


def numbers(markup):
    """Return the numbers beside the axis, from the lowest up."""
    return [text.text for text in ET.fromstring(markup).find("svg[@class='brevo-gutter']").iter("text")]


class BarChartTests:
    def test_draws_each_value_in_proportion(self):
        svg = drawn((100, 0), (50, 0), (25, 0))

        heights = [float(rect.get("height")) for rect in rects(svg, "sent")]
        assert heights == [200, 100, 50]
        assert {bottom(rect) for rect in rects(svg, "sent")} == {ZERO}

    def test_draws_failures_below_the_line_on_the_same_scale(self):
        svg = drawn((60, 40), (100, 0))

        (failed,), sent = rects(svg, "failed"), rects(svg, "sent")
        zero = float(svg.find("line[@class='brevo-zero']").get("y1"))
        assert [top(failed), bottom(sent[0]), bottom(sent[1])] == [pytest.approx(zero, abs=0.02)] * 3
        assert float(failed.get("height")) / float(sent[1].get("height")) == pytest.approx(0.4, rel=0.01)
        assert bottom(failed) <= BOTTOM + 0.02

    def test_stacks_what_is_on_one_side(self):
        svg = drawn((60, 0, 40))

        (sent,), (waiting,) = rects(svg, "sent"), rects(svg, "waiting")
        assert bottom(waiting) == pytest.approx(top(sent), abs=0.02)
        assert top(waiting) == 18

    def test_lets_one_failure_beside_a_million_be_seen_and_pointed_at(self):
        svg = drawn((1_000_000, 1), (1, 0))

        assert float(rects(svg, "failed")[0].get("height")) == 2
        areas = [float(area.get("height")) for area in svg.findall(".//rect[@class='brevo-area']")]
        assert min(areas) >= 14

    def test_draws_nothing_for_nothing(self):
        for svg in (drawn((0, 0), (0, 0)), drawn()):
            assert not rects(svg, "sent")
            assert not svg.findall(".//a")

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([(0, 0)], ["0", "1"]),
            ([(3, 1)], ["1", "0", "1", "2", "3"]),
            ([(130, 5)], ["0", "50", "100", "150"]),
            ([(2930, 900)], ["0", "1,000", "2,000", "3,000"]),
            ([(0, 40)], ["40", "30", "20", "10", "0", "10"]),
        ],
    )
    def test_has_round_numbers_beside_the_axis(self, values, expected):
        assert numbers(chart([Bar("a", (*value, 0)) for value in values])) == expected

    def test_has_room_for_its_numbers(self):
        few, many = (bar_chart([Bar("a", (value, 0, 0))], SERIES).gutter for value in (5, 5_000_000))

        assert many > few >= 8

    def test_shades_a_time_behind_the_bars(self):
        svg = ET.fromstring(chart([Bar("a", (1, 0, 0))], bands=[Band("hold", 0.25, 0.5), Band("pause", 0.9999, 1)]))

        hold, pause = (svg.find(f".//rect[@class='brevo-band brevo-band-{kind}']") for kind in ("hold", "pause"))
        assert (hold.get("x"), hold.get("width"), hold.get("height")) == ("25%", "25%", "200")
        assert (pause.get("x"), pause.get("width")) == ("99.6%", "0.4%")
        order = [element.get("class") for element in svg.find("svg[@role]")]
        assert order.index("brevo-band brevo-band-hold") < order.index("brevo-column")

    def test_links_each_value_to_its_events_by_a_name(self):
        svg = ET.fromstring(chart([Bar("14:00", (12, 1, 0), urls=("?a", "?b", "?c"))]))

        links = {link.get("href"): link.get("aria-label") for link in svg.iter("a")}
        assert links == {"?a": "14:00: 12 sent", "?b": "14:00: 1 failed"}
        # The keyboard finds the same links in the table, and does not have to pass them all here.
        assert {link.get("tabindex") for link in svg.iter("a")} == {"-1"}

    def test_stays_within_its_width(self):
        svg = drawn(*[(1, 0)] * 30)

        ends = [float(r.get("x")[:-1]) + float(r.get("width")[:-1]) for r in rects(svg, "sent")]
        assert len(ends) == 30
        assert max(ends) <= 100

    def test_has_a_name_and_a_description_for_those_who_cannot_see_it(self):
        svg = drawn((1, 2), key="hours", title="Last day", description="1 sent")

        assert svg.get("role") == "group"
        assert svg.get("aria-labelledby") == "hours-title hours-desc"
        assert svg.find("title[@id='hours-title']").text == "Last day"
        assert svg.find("desc[@id='hours-desc']").text == "1 sent"

    def test_tells_the_figures_of_a_bar_that_is_pointed_at(self):
        assert drawn((1200, 3)).find("g/text").text == "bar 0: 1,200 sent, 3 failed, 0 waiting"
        svg = ET.fromstring(chart([Bar("a", (1, 0, 0), note="on hold 5 min")]))
        assert svg.find(".//g/text").text == "a: 1 sent, 0 failed, 0 waiting, on hold 5 min"

    def test_needs_neither_script_nor_style(self):
        svg = chart([Bar("a", (1, 2, 3), "label")])

        assert not re.search(r"style|<script|\son\w+=|href", svg)

    def test_escapes_every_text(self):
        svg = chart([Bar(MARKUP, (1,), MARKUP, (MARKUP,), MARKUP)], [Series(MARKUP, MARKUP)], MARKUP, MARKUP, MARKUP)

        assert "<script" not in svg
        texts = [element.text for element in ET.fromstring(svg).iter() if element.text]
        assert MARKUP in texts

    def test_writes_no_decimal_comma_into_the_markup(self):
        with translation.override("fr"):
            markup = chart([Bar("a", (1500, 1, 3)), Bar("b", (7, 1, 0)), Bar("c", (9, 1, 0))])

        assert all("," not in value for element in ET.fromstring(markup).iter() for value in element.attrib.values())
        assert "1\xa0500" in [text.replace("\u202f", "\xa0") for text in numbers(markup)]

    def test_labels_no_end_beyond_the_edge(self):
        svg = ET.fromstring(chart([Bar("a", (1, 0, 0), "first"), Bar("b", (1, 0, 0)), Bar("c", (1, 0, 0), "last")]))

        anchors = {text.text: text.get("text-anchor") for text in svg.iter("text")}
        assert (anchors["first"], anchors["last"]) == ("start", "end")


class RoundStepTests:
    @pytest.mark.parametrize(
        ("highest", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 5), (21, 10), (41, 20), (1_000_000, 500_000)]
    )
    def test_is_round(self, highest, step):
        assert round_step(highest) == step

    def test_needs_no_more_than_four_lines_and_at_least_two(self):
        for highest in range(2, 5000):
            assert 1 < -(-highest // round_step(highest)) <= 4


def test_a_number_is_grouped():
    assert number(1234567) == "1,234,567"
