from __future__ import annotations

import pytest

from brevo_events.admin.event.content import content_of, summary_of


def body(data=None, **more):
    return {"email": "ada@example.com", "event": "x", "eventdata": {"id": "cart:1", "data": data or {}}, **more}


def rows_of(table):
    return [[cell.text for cell in row] for row in table.rows]


class ContentTests:
    def test_makes_a_table_of_a_list_of_dicts_whatever_they_have(self):
        (table,) = content_of(body({"rows": [{"a": 1, "b": "x"}, {"c": None}]})).tables

        assert (table.name, [column.text for column in table.columns]) == ("rows", ["a", "b", "c"])
        assert rows_of(table) == [["1", "x", ""], ["", "", "–"]]

    def test_aligns_numbers_and_puts_addresses_last(self):
        rows = [{"url": "https://x", "price": 89, "flag": True}, {"url": "https://y", "price": 14.5, "flag": False}]
        (table,) = content_of(body({"items": rows})).tables

        assert [(column.text, column.kind) for column in table.columns] == [
            ("price", "number"),
            ("flag", ""),
            ("url", "url"),
        ]
        assert rows_of(table) == [["89.00", "true", "https://x"], ["14.50", "false", "https://y"]]

    def test_writes_other_values_as_text(self):
        data = {"n": 1, "f": 0.125, "t": True, "none": None, "list": [1, "b"], "empty": [], "deep": [[1], {"a": 2}]}

        assert content_of(body(data)).values == [
            ("n", "1"),
            ("f", "0.125"),
            ("t", "true"),
            ("none", "–"),
            ("list", "1, b"),
            ("empty", "–"),
            ("deep", '[[1], {"a": 2}]'),
        ]

    def test_names_values_in_dicts_by_their_path(self):
        data = {"shipping": {"city": "Paris", "lines": [{"a": 1}], "geo": {"at": {"x": 1}}}}
        content = content_of(body(data))

        assert content.values == [("shipping.city", "Paris"), ("shipping.geo.at", '{"x": 1}')]
        assert [table.name for table in content.tables] == ["shipping.lines"]

    @pytest.mark.parametrize("name", ["properties", "attributes"])
    def test_keeps_apart_what_is_about_the_contact(self, name):
        content = content_of({"email": "ada@example.com", name: {"FIRSTNAME": "Ada"}})

        assert content.about_contact == [("FIRSTNAME", "Ada")]
        assert not content.is_empty

    @pytest.mark.parametrize("given", [{}, body(), {"eventdata": None}, {"eventdata": {"data": [1]}, "properties": 3}])
    def test_takes_odd_bodies(self, given):
        assert content_of(given).is_empty

    def test_cuts_what_is_too_much(self):
        rows = [{str(column): "x" * 600 for column in range(22)} for _ in range(202)]
        content = content_of(body({"rows": rows, "long": "y" * 600}))

        (table,) = content.tables
        assert (len(table.rows), len(table.columns)) == (200, 20)
        assert table.left_out == "2 more rows, 2 more columns"
        assert content.values == [("long", "y" * 500 + " …")]


class SummaryTests:
    @pytest.mark.parametrize(
        ("data", "summary"),
        [
            ({"items": [{}], "total": 42, "currency": "EUR"}, "1 item, 42.00 EUR"),
            ({"id": "2026-7", "items": [{}, {}], "total": 61.5, "currency": "EUR"}, "order 2026-7, 2 items, 61.50 EUR"),
            ({"items": []}, "0 items"),
            ({"items": "x"}, ""),
            ({"total": 3}, ""),
        ],
    )
    def test_is_of_carts_and_orders(self, data, summary):
        assert summary_of(body(data)) == summary

    def test_of_a_body_without_data_is_empty(self):
        assert summary_of({}) == ""
