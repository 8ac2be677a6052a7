from __future__ import annotations

import datetime as dt
import sys
from contextlib import suppress

import pytest
from django.core.management import CommandError
from django.db import transaction

from brevo_events import privacy, track
from brevo_events.choices import Reason
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent, SendAttempt, Status
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from tests.commands import run
from tests.deliveries import claim

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


def ended(email, status, name="viewed", **more):
    """Capture an event that has ended with this status."""
    event = track(name, email)
    OutboxEvent.objects.filter(pk=event.pk).update(
        **{"status": status, "due_at": None, "attempts": 3, "finished_at": event.created_at, **more}
    )
    return event


def due():
    return list(OutboxEvent.objects.filter(status=Status.PENDING).order_by("pk"))


def dump():
    return list(OutboxEvent.objects.order_by("pk").values())


class ResendTests:
    def test_makes_failed_events_due_again_from_zero_attempts(self):
        event = ended(ADA, Status.FAILED, reason="gave_up")

        assert run("resend_brevo_events", "--status", "failed") == "1 event will be sent again.\n"

        row = OutboxEvent.objects.get(pk=event.pk)
        assert (row.status, row.reason, row.attempts, row.finished_at) == (Status.PENDING, "", 0, None)
        assert deliver() == {Status.SENT: 1}

    def test_counts_only_what_it_may_resend_for_its_limit(self):
        ended(ADA, Status.SENT)
        ended(ADA, Status.FAILED, object_id="cart:1")
        ended(ADA, Status.SENT, object_id="cart:1")
        failed = [ended(email, Status.FAILED) for email in (ADA, BOB, EVE)]

        told = run("resend_brevo_events", "--event", "viewed", "--limit", "2")

        assert due() == failed[:2]
        assert sorted(told.splitlines()) == [
            "2 events will be sent again.",
            "Skipped: 1 (a newer event of the same contact and object exists).",
            "Skipped: 2 (already sent).",
        ]

    def test_says_what_changed_between_the_question_and_the_answer(self, monkeypatch):
        failed = ended(ADA, Status.FAILED)
        ended(BOB, Status.FAILED)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

        def answer(question):
            OutboxEvent.objects.filter(pk=failed.pk).resend()
            return "y"

        monkeypatch.setattr("builtins.input", answer)

        told = run("resend_brevo_events", "--status", "failed")

        assert sorted(told.splitlines()) == ["1 event will be sent again.", "Skipped: 1 (still waiting or being sent)."]

    def test_keeps_what_was_tried(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "invalid_parameter"))
        track("viewed", ADA)
        deliver()

        run("resend_brevo_events", "--response-code", "400")
        deliver()

        assert list(SendAttempt.objects.order_by("pk").values_list("response_code", flat=True)) == [400, 204]

    def test_has_the_engine_deliver_at_once(self, settings):
        ended(ADA, Status.FAILED)
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        run("resend_brevo_events", "--email", ADA)

        assert len(locmem.sent) == 1

    @pytest.mark.parametrize("options", [[], ["--limit", "5"], ["--include-sent"], ["--dry-run"], ["--no-input"]])
    def test_refuses_without_a_filter(self, options):
        ended(ADA, Status.FAILED)

        with pytest.raises(CommandError, match="Say which events"):
            run("resend_brevo_events", *options)

        assert due() == []

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--status", "failed"], [ADA, BOB]),
            (["--status", "cancelled"], [EVE]),
            (["--event", "bought"], [BOB]),
            (["--event", "Bought"], []),
            (["--email", "ADA@Example.com"], [ADA]),
            (["--email", "ada@"], []),
            (["--response-code", "400"], [ADA]),
            (["--since", "2026-03-02"], [BOB, EVE]),
            (["--until", "2026-03-02"], [ADA]),
            (["--since", "2026-03-02", "--until", "2026-03-03"], [BOB]),
            (["--since", "2026-03-02T12:00:00"], [BOB, EVE]),
            (["--since", "2026-03-02T12:00:01"], [EVE]),
            (["--until", "2026-03-02T11:00:00Z"], [ADA]),
            (["--until", "2026-03-02T11:00:01+00:00"], [ADA, BOB]),
            (["--since", "0001-01-02"], [ADA, BOB, EVE]),
            (["--status", "failed", "--limit", "1"], [ADA]),
            (["--status", "failed", "--event", "bought"], [BOB]),
            (["--status", "failed", "--email", EVE], []),
        ],
        ids=" ".join,
    )
    def test_takes_what_every_filter_chooses(self, options, expected):
        noons = [dt.datetime(2026, 3, day, 11, tzinfo=dt.UTC) for day in (1, 2, 3)]  # 12:00 in Paris
        ended(ADA, Status.FAILED, created_at=noons[0], response_code=400)
        ended(BOB, Status.FAILED, created_at=noons[1], name="bought", response_code=503)
        ended(EVE, Status.CANCELLED, created_at=noons[2])

        run("resend_brevo_events", *options)

        assert [event.email for event in due()] == expected

    def test_takes_the_events_of_these_numbers(self):
        events = [ended(email, Status.FAILED) for email in (ADA, BOB, EVE)]

        run("resend_brevo_events", str(events[0].pk), str(events[2].pk), str(events[2].pk + 1000))

        assert due() == [events[0], events[2]]

    def test_skips_what_is_sent_unless_it_is_asked_for(self):
        event = ended(ADA, Status.SENT)

        assert run("resend_brevo_events", "--email", ADA) == "Skipped: 1 (already sent).\nThere is nothing to do.\n"
        assert due() == []

        run("resend_brevo_events", "--email", ADA, "--include-sent")

        assert due() == [event]

    def test_skips_what_is_outdated_unless_it_is_asked_for(self):
        stale, newer = (track("cart_updated", ADA, object_id="cart:1") for _ in range(2))
        OutboxEvent.objects.update(status=Status.FAILED, due_at=None)

        told = run("resend_brevo_events", str(stale.pk))

        assert told == "Skipped: 1 (a newer event of the same contact and object exists).\nThere is nothing to do.\n"
        assert due() == []

        run("resend_brevo_events", str(stale.pk), "--include-outdated")

        assert due() == [stale]

    @pytest.mark.parametrize("expired", [{"reason": "expired"}, {"expires_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC)}])
    def test_skips_what_has_expired_unless_it_is_asked_for(self, expired):
        event = ended(ADA, Status.CANCELLED, **expired)

        assert run("resend_brevo_events", "--email", ADA) == "Skipped: 1 (expired).\nThere is nothing to do.\n"
        assert due() == []

        assert run("resend_brevo_events", "--email", ADA, "--include-expired") == "1 event will be sent again.\n"

        assert due() == [event]
        assert deliver() == {Status.SENT: 1}

    def test_skips_what_is_erased_whatever_is_asked_for(self):
        event = ended(ADA, Status.FAILED)
        sum(privacy.erase(ADA))

        told = run("resend_brevo_events", str(event.pk), "--include-sent", "--include-outdated", "--include-expired")

        assert told == "Skipped: 1 (erased with its contact).\nThere is nothing to do.\n"

    def test_skips_what_is_still_waiting(self):
        track("viewed", ADA)
        before = dump()

        assert "Skipped: 1 (still waiting or being sent)." in run("resend_brevo_events", "--email", ADA)
        assert dump() == before

    @pytest.mark.parametrize("engine", ["worker", "inline"])
    def test_dry_run_says_what_would_happen_and_changes_nothing(self, settings, engine):
        ended(ADA, Status.FAILED)
        ended(BOB, Status.SENT)
        settings.BREVO_EVENTS = {"ENGINE": engine}
        before = dump()

        told = run("resend_brevo_events", "--event", "viewed", "--dry-run")

        assert told == "Skipped: 1 (already sent).\nDry run: 1 event will be resent; its attempts restart at zero.\n"
        assert dump() == before
        assert locmem.sent == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--since", "yesterday"], "--since: 'yesterday' is not a date like 2026-11-23"),
            (["--since", ""], "--since: '' is not a date like"),
            (["--until", "2026-02-30"], "--until: '2026-02-30' is not a valid date"),
            (["--until", "2026-02-01T25:00"], "--until: '2026-02-01T25:00' is not a valid date"),
            (["--since", "0001-01-01"], "--since: '0001-01-01' is too far away"),
            (["--until", "9999-12-31T23:59:59-12:00"], "is too far away"),
            (["--status", "lost"], "--status: invalid choice: 'lost'"),
            (["--response-code", "4xx"], "--response-code: '4xx' is not a whole number of at least 1"),
            (["--response-code", "0"], "--response-code: '0' is not"),
            (["--status", "failed", "--limit", "0"], "--limit: '0' is not"),
            (["--status", "failed", "--limit", "9" * 20], "is not a whole number"),
            (["abc"], "argument pk: 'abc' is not a whole number"),
            (["-5"], "-5"),
            (["9223372036854775808"], "that a database can hold"),
            (["9" * 5000], "that a database can hold"),
            (["--status", "failed", "--email", ""], "--email: '' is empty"),
            (["--status", "failed", "--email", " "], "--email: ' ' is empty"),
            (["--status", "failed", "--event", ""], "--event: '' is empty"),
            (["--message", "4242"], "--message: '4242' has only addresses or numbers, which are ignored: add words"),
            (["--message", "ada@example.com 12"], "has only addresses or numbers"),
            (["--event", "a\0"], "--event: 'a\\x00' is empty, or has a character that no event can have"),
        ],
        ids=lambda value: " ".join(value)[:40].replace("\0", "NUL") if isinstance(value, list) else "",
    )
    def test_tells_clearly_what_is_wrong(self, options, message):
        ended(ADA, Status.FAILED)

        with pytest.raises(CommandError) as raised:
            run("resend_brevo_events", *options)

        assert message in str(raised.value)
        assert due() == []

    @pytest.mark.parametrize("number", ["9223372036854775807", "99999"])
    def test_finds_nothing_by_a_number_that_does_not_exist(self, number):
        assert run("resend_brevo_events", number) == "There is nothing to do.\n"
        assert run("resend_brevo_events", "--response-code", number) == "There is nothing to do.\n"

    def test_prints_no_address(self):
        ended(ADA, Status.FAILED)

        assert "ada" not in run("resend_brevo_events", "--email", ADA)


class CancelTests:
    def test_cancels_what_waits_and_counts_it(self):
        events = [track("viewed", email) for email in (ADA, BOB)]
        other = track("bought", EVE)

        assert run("cancel_brevo_events", "--event", "viewed") == "2 events were cancelled.\n"

        assert due() == [other]
        rows = OutboxEvent.objects.filter(pk__in=[event.pk for event in events])
        assert set(rows.values_list("status", "reason")) == {(Status.CANCELLED, Reason.OPERATOR)}
        assert deliver() == {Status.SENT: 1}

    @pytest.mark.parametrize("options", [[], ["--limit", "5"], ["--dry-run"], ["--no-input"]])
    def test_refuses_without_a_filter(self, options):
        event = track("viewed", ADA)

        with pytest.raises(CommandError, match="Say which events"):
            run("cancel_brevo_events", *options)

        assert due() == [event]

    def test_takes_what_the_filters_choose(self):
        events = [track("viewed", email) for email in (ADA, BOB, EVE)]

        run("cancel_brevo_events", "--email", "ADA@Example.com")
        run("cancel_brevo_events", "--status", "pending", "--limit", "1")

        assert due() == [events[2]]

    def test_counts_only_what_it_may_cancel_for_its_limit(self):
        ended(ADA, Status.SENT)
        events = [track("viewed", ADA), track("viewed", BOB)]

        run("cancel_brevo_events", "--event", "viewed", "--limit", "1")

        assert due() == events[1:]

    def test_skips_what_has_gone_or_is_on_its_way(self):
        ended(ADA, Status.SENT)
        ended(ADA, Status.FAILED)
        track("viewed", BOB)
        claim(1)
        before = dump()

        told = run("cancel_brevo_events", "--event", "viewed")

        assert sorted(told.splitlines()) == [
            "Skipped: 1 (being sent).",
            "Skipped: 2 (already finished).",
            "There is nothing to do.",
        ]
        assert dump() == before

    def test_dry_run_says_what_would_happen_and_changes_nothing(self):
        track("viewed", ADA)
        ended(BOB, Status.SENT)
        before = dump()

        told = run("cancel_brevo_events", "--event", "viewed", "--dry-run")

        assert told == "Skipped: 1 (already finished).\nDry run: 1 event will be cancelled and not sent.\n"
        assert dump() == before

    def test_has_the_engine_deliver_what_waited_behind(self, settings):
        track("viewed", ADA)
        claim(1)
        track("bought", ADA)
        claim(1)
        OutboxEvent.objects.filter(name="viewed").update(status=Status.PENDING, lease_token=None)
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        run("cancel_brevo_events", "--event", "viewed")

        assert [body["event"] for body in locmem.sent] == ["bought"]

    def test_has_no_option_of_a_resend(self):
        with pytest.raises(CommandError, match="unrecognized arguments: --include-sent"):
            run("cancel_brevo_events", "--email", ADA, "--include-sent")


class InATransactionTests:
    """A command called by a view in its own transaction."""

    @pytest.fixture(autouse=True)
    def _inline(self, settings, by_hand):
        ended(ADA, Status.FAILED)
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

    def test_events_are_sent_after_the_callers_commit(self):
        with transaction.atomic():
            run("resend_brevo_events", "--email", ADA)
            assert locmem.sent == []

        assert len(locmem.sent) == 1

    def test_nothing_is_sent_after_a_rollback(self):
        with suppress(ZeroDivisionError), transaction.atomic():
            run("resend_brevo_events", "--email", ADA)
            raise ZeroDivisionError

        assert locmem.sent == []
        assert due() == []

    def test_work_goes_on_without_autocommit(self):
        transaction.set_autocommit(False)
        try:
            run("resend_brevo_events", "--email", ADA)
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

        assert len(due()) == 1
        assert locmem.sent == []


class ConfirmationTests:
    @pytest.fixture(autouse=True)
    def _terminal(self, monkeypatch):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        self.asked = []
        self.answer = ""
        monkeypatch.setattr("builtins.input", lambda question: self.asked.append(question) or self.answer)
        ended(ADA, Status.FAILED)
        ended(BOB, Status.FAILED)

    @pytest.mark.parametrize("answer", ["", "n", "no", "x"])
    def test_is_asked_for_on_a_terminal(self, answer):
        self.answer = answer

        with pytest.raises(CommandError, match=r"Nothing was changed\."):
            run("resend_brevo_events", "--status", "failed")

        assert self.asked == ["2 events will be resent; their attempts restart at zero. Continue? [y/N] "]
        assert due() == []

    @pytest.mark.parametrize("answer", ["y", "Y", "yes", " yes "])
    def test_lets_it_go_on(self, answer):
        self.answer = answer

        run("resend_brevo_events", "--status", "failed")

        assert len(due()) == 2

    @pytest.mark.parametrize("answer", ["", "y"])
    def test_is_asked_for_before_a_cancellation_too(self, answer):
        self.answer = answer
        track("viewed", EVE)

        with suppress(CommandError) if answer else pytest.raises(CommandError, match=r"Nothing was changed\."):
            run("cancel_brevo_events", "--status", "pending")

        assert self.asked == ["1 event will be cancelled and not sent. Continue? [y/N] "]
        assert len(due()) == (0 if answer else 1)

    def test_is_refused_by_the_end_of_the_input(self, monkeypatch):
        def end(question):
            raise EOFError

        monkeypatch.setattr("builtins.input", end)

        with pytest.raises(CommandError, match=r"Nothing was changed\."):
            run("resend_brevo_events", "--status", "failed")

        assert due() == []

    @pytest.mark.parametrize("options", [["--no-input"], ["--dry-run"]])
    def test_is_not_asked_for(self, options):
        run("resend_brevo_events", "--status", "failed", *options)

        assert self.asked == []
