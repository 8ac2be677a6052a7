from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from django.utils import translation

from brevo_events.admin.charts import Bar, Series, bar_chart, nice_ceiling, number, share_bar

SERIES = [Series("sent", "sent"), Series("failed", "failed")]
MARKUP = "<script>alert('1')</script>&\""


def drawn(*values, **more):
    bars = [Bar(f"bar {place}", value) for place, value in enumerate(values)]
    return ET.fromstring(chart(bars, **more))


def chart(bars, key="k", title="Title", description="Description"):
    return bar_chart(bars, SERIES, key=key, title=title, description=description)


def rects(svg, key):
    return svg.findall(f".//rect[@class='brevo-fill-{key}']")


def bottom(rect):
    return float(rect.get("y")) + float(rect.get("height"))


class BarChartTests:
    def test_draws_each_value_in_proportion(self):
        svg = drawn((100, 0), (50, 0), (25, 0))

        heights = [float(rect.get("height")) for rect in rects(svg, "sent")]
        assert heights == [200, 100, 50]

    def test_stacks_the_series(self):
        svg = drawn((60, 40))

        (sent,), (failed,) = rects(svg, "sent"), rects(svg, "failed")
        assert bottom(sent) == 216
        assert bottom(failed) == float(sent.get("y"))
        assert float(failed.get("height")) == 80

    def test_lets_one_failure_beside_a_million_be_seen(self):
        svg = drawn((1_000_000, 1))

        assert float(rects(svg, "failed")[0].get("height")) == 2

    def test_draws_nothing_for_nothing(self):
        assert not rects(drawn((0, 0), (0, 0)), "sent")
        assert not rects(drawn(), "sent")

    def test_stays_within_its_width(self):
        svg = drawn(*[(1, 0)] * 30)

        ends = [float(r.get("x")[:-1]) + float(r.get("width")[:-1]) for r in rects(svg, "sent")]
        assert len(ends) == 30
        assert max(ends) <= 100

    def test_has_a_name_and_a_description_for_those_who_cannot_see_it(self):
        svg = drawn((1, 2), key="hours", title="Last day", description="1 sent")

        assert svg.get("role") == "img"
        assert svg.get("aria-labelledby") == "hours-title hours-desc"
        assert svg.find("title[@id='hours-title']").text == "Last day"
        assert svg.find("desc[@id='hours-desc']").text == "1 sent"

    def test_tells_the_figures_of_a_bar_that_is_pointed_at(self):
        assert drawn((1200, 3)).find("g/title").text == "bar 0: 1,200 sent, 3 failed"

    def test_needs_neither_script_nor_style(self):
        svg = chart([Bar("a", (1, 2), "label")])

        assert not re.search(r"style|<script|\son\w+=|href", svg)

    def test_escapes_every_text(self):
        svg = bar_chart(
            [Bar(MARKUP, (1,), MARKUP)], [Series(MARKUP, MARKUP)], key=MARKUP, title=MARKUP, description=MARKUP
        )

        assert "<script" not in svg
        texts = [element.text for element in ET.fromstring(svg).iter() if element.text]
        assert MARKUP in texts

    def test_writes_no_decimal_comma_into_the_markup(self):
        with translation.override("fr"):
            svg = drawn((1500, 1), (7, 1), (9, 1))

        assert all("," not in value for element in svg.iter() for value in element.attrib.values())
        assert "1\xa0600" in [text.text.replace("\u202f", "\xa0") for text in svg.iter("text")]

    def test_labels_no_end_beyond_the_edge(self):
        svg = ET.fromstring(chart([Bar("a", (1, 0), "first"), Bar("b", (1, 0)), Bar("c", (1, 0), "last")]))

        anchors = {text.text: text.get("text-anchor") for text in svg.iter("text")}
        assert (anchors["first"], anchors["last"]) == ("start", "end")


class NiceCeilingTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0, 2),
            (1, 2),
            (3, 4),
            (9, 10),
            (10, 10),
            (11, 12),
            (99, 100),
            (100, 100),
            (101, 120),
            (1_000_001, 1_200_000),
        ],
    )
    def test_is_round(self, value, expected):
        assert nice_ceiling(value) == expected

    def test_is_never_below_nor_odd_nor_far_above(self):
        for value in range(1, 5000):
            ceiling = nice_ceiling(value)
            assert value <= ceiling <= max(1.67 * value, 2)
            assert ceiling % 2 == 0


class ShareBarTests:
    @pytest.mark.parametrize(("share", "width"), [(0, "0%"), (0.255, "25.5%"), (1, "100%"), (7, "100%"), (-1, "0%")])
    def test_is_as_long_as_the_share(self, share, width):
        svg = ET.fromstring(share_bar(share))

        assert svg.find("rect[@class='brevo-share-part']").get("width") == width


def test_a_number_is_grouped():
    assert number(1234567) == "1,234,567"
