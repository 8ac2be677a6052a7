from __future__ import annotations

import logging

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from brevo_events import conf, track
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent
from brevo_events.testing import Reply
from tests.conftest import KEY

TROUBLES = {
    "hang": Reply.hang(2),
    "drip": Reply.drip(0.05),
    "reset": Reply.reset(),
    "rubbish": Reply.rubbish(),
    "half": Reply.half_body(400),
    "echo": Reply(400, body=f'{{"code": "{KEY}", "message": "key {KEY}"}}'.encode()),
    "refused": Reply.error(401, "unauthorized", f"bad key {KEY}"),
}


@pytest.mark.django_db(transaction=True)
class KeyTests:
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_is_in_no_row_no_log_line_and_no_admin_page(self, fake_brevo, settings, caplog, client, trouble):
        caplog.set_level(logging.DEBUG)
        settings.DEBUG = True
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline", "TIMEOUT": 0.2}
        fake_brevo.always(TROUBLES[trouble])

        event = track("cart_updated", "ada@example.com")

        client.force_login(User.objects.create_superuser("admin"))
        pages = [
            client.get("/admin/brevo_events/outboxevent/").content.decode(),
            client.get(f"/admin/brevo_events/outboxevent/{event.pk}/change/").content.decode(),
        ]
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.get(pk=event.pk).send_attempts.count() == 1
        assert KEY not in caplog.text + "".join(pages) + dump()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "http://localhost:1/"])
    def test_is_in_no_row_where_nobody_answers(self, settings, caplog, url):
        caplog.set_level(logging.DEBUG)
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "URL": url, "TRANSPORT": "http", "ENGINE": "inline", "TIMEOUT": 0.2}

        track("cart_updated", "ada@example.com")

        assert KEY not in caplog.text + dump()

    @pytest.mark.parametrize(
        "change",
        [
            {"TRANSPORT": "no.such.Transport"},
            {"URL": "http://example.com/"},
            {"TIMEOUT": "soon"},
            {"MA_KEY": KEY + "\n"},
            {"MA_KEY": KEY.encode()},
            {"MA_KEY": lambda: KEY + "é"},
        ],
        ids=["transport", "url", "timeout", "line break", "bytes", "callable"],
    )
    def test_is_on_no_error_page(self, fake_brevo, settings, change):
        settings.DEBUG = True
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline", **change}

        with pytest.raises(conf.InvalidSetting) as caught:
            track("cart_updated", "ada@example.com")

        page = page_of(caught)
        assert "InvalidSetting" in page
        assert KEY not in page

    def test_is_on_no_error_page_of_a_record_that_fails(self, fake_brevo, settings, monkeypatch):
        settings.DEBUG = True
        track("cart_updated", "ada@example.com")
        monkeypatch.setattr("brevo_events.delivery.pipeline.record", lambda attempts: 1 / 0)

        with pytest.raises(ZeroDivisionError) as caught:
            deliver()

        assert KEY not in page_of(caught)


def page_of(caught):
    # The first frame is the test's own, which holds the key in its arguments.
    request = RequestFactory().get("/", BREVO_MA_KEY=KEY)
    return ExceptionReporter(request, caught.type, caught.value, caught.tb.tb_next).get_traceback_html()


def dump():
    """Return every value of every table of the app, as text."""
    texts = []
    with connection.cursor() as cursor:
        for model in apps.get_app_config("brevo_events").get_models():
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            texts.append(repr(cursor.fetchall()))
    return "".join(texts)
