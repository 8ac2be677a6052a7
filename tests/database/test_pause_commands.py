from __future__ import annotations

import datetime as dt

import pytest
from django.core.management import CommandError
from django.utils import timezone

from brevo_events import track
from brevo_events.models import Gate, OutboxEvent, Status
from tests.commands import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]


class PauseTests:
    def test_holds_everything_back_until_resumed_and_says_so(self):
        assert run("pause_brevo_delivery", "--reason", "deploy 4.2") == (
            "Delivery is paused by a command: “deploy 4.2”. Events wait until you resume.\n"
        )
        assert (Gate.load().is_paused, Gate.load().paused_until) == (True, None)

        assert run("resume_brevo_delivery") == "Events are sent as they become due.\n"

        assert not Gate.load().is_paused

    def test_may_end_by_itself_after_minutes_or_at_a_time(self):
        assert "or until " in run("pause_brevo_delivery", "--minutes", "15")
        assert Gate.load().seconds_until_resumed == pytest.approx(900, abs=20)

        run("pause_brevo_delivery", "--until", f"{timezone.now() + dt.timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}")

        assert Gate.load().seconds_until_resumed == pytest.approx(3 * 3600, abs=20)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--until", "2020-01-01T10:00"], "--until is in the past"),
            (["--minutes", "9999999"], "--minutes is 527040 at most"),
            (["--minutes", "0"], "not a whole number of at least 1"),
            (["--minutes", "5", "--until", "2126-01-01"], "not allowed with"),
        ],
    )
    def test_refuses_an_end_that_is_none(self, options, said):
        with pytest.raises(CommandError, match=said):
            run("pause_brevo_delivery", *options)

        assert not Gate.load().is_paused


class ResumeTests:
    def test_wakes_the_engine(self, settings):
        Gate.load().pause()
        track("viewed", "ada@example.com")
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        run("resume_brevo_delivery")

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_says_what_a_fault_still_holds_back(self):
        Gate.load().close("account", 401)
        Gate.load().pause()

        assert run("resume_brevo_delivery").startswith("Delivery is on hold: Brevo does not accept the key (401). ")
