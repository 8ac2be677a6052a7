from __future__ import annotations

import pytest

from tests.browser.guard import Guard
from tests.waiting import wait_until


class GuardTests:
    """If the guard noticed nothing, every other test would pass."""

    @pytest.mark.parametrize(
        ("code", "complaint"),
        [
            ("alert(1)", "dialog: 1"),
            ("console.error('broken')", "console: broken"),
            ("setTimeout(() => { throw new Error('lost') })", "uncaught: lost"),
            ("fetch('/nowhere/')", "404: "),
            ("fetch('http://localhost:9/').catch(() => 0)", "Content-Security-Policy: connect-src"),
            (
                "document.body.innerHTML = '<style>a {}</style>'",
                "Content-Security-Policy: style-src-elem inline",
            ),
            ("document.body.innerHTML = '<img src=x onerror=1>'", "Content-Security-Policy: script-src-attr inline"),
        ],
    )
    def test_notes(self, browser, served, code, complaint):
        context = browser.new_context(base_url=served.url)
        guard = Guard(context, served.url)
        page = context.new_page()
        page.goto("/")

        def is_noted():
            page.wait_for_timeout(20)  # while the browser reports
            return complaint in "\n".join(guard.complaints)

        page.evaluate(f"() => {{ {code} }}")
        wait_until(is_noted)

        assert complaint in "\n".join(guard.close())

    def test_notes_a_request_to_another_host(self, browser, served):
        context = browser.new_context()
        guard = Guard(context, served.url)

        context.new_page().goto("data:text/html,<img src='http://localhost:9/x.png'>")

        assert "request elsewhere: http://localhost:9/x.png" in guard.close()
