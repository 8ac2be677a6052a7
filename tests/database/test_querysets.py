from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from brevo_events import Event, querysets, track
from brevo_events.choices import Reason, Status
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import HourlyCount, OutboxEvent, SendAttempt
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.transports import locmem
from tests.deliveries import claim

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("by_hand")]

WAITING = str(querysets.SKIPPED_WAITING)
SENT = str(querysets.SKIPPED_SENT)
SENDING = str(querysets.SKIPPED_SENDING)
FINISHED = str(querysets.SKIPPED_FINISHED)
EXPIRED = str(querysets.SKIPPED_EXPIRED)
ERASED = str(querysets.SKIPPED_ERASED)
OUTDATED = str(querysets.SKIPPED_OUTDATED)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)


class ElsewhereRouter:
    def db_for_read(self, model, **hints):
        return "other"

    def db_for_write(self, model, **hints):
        return "default"


def kept(status=Status.FAILED, email="ada@example.com", object_id=None, name="cart_updated", **fields):
    event = OutboxEvent.of(Event(name, email, object_id=object_id))
    event.status = status
    if status not in (Status.PENDING, Status.SENDING):
        fields = {"attempts": 12, "due_at": None, "finished_at": LONG_AGO, "reason": Reason.GAVE_UP, **fields}
    for field, value in fields.items():
        setattr(event, field, value)
    event.save()
    return event


def everything():
    return OutboxEvent.objects.all()


class ResendTests:
    def test_makes_an_event_due_again_from_zero_attempts(self):
        event = kept(response_code=503, parked=True)

        result = everything().resend()

        event.refresh_from_db()
        assert (result.pks, result.skipped) == ([event.pk], {})
        assert (event.status, event.reason, event.attempts, event.parked) == (Status.PENDING, "", 0, False)
        assert event.finished_at is None
        assert abs(event.due_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert list(OutboxEvent.objects.due()) == [event]

    def test_keeps_what_was_tried_and_what_was_captured(self):
        event = kept()
        SendAttempt.objects.create(event=event, started_at=LONG_AGO, duration_ms=3, response_code=503)

        everything().resend()

        again = OutboxEvent.objects.get()
        assert [attempt.response_code for attempt in again.send_attempts.all()] == [503]
        assert (again.body, again.created_at, again.pk) == (event.body, event.created_at, event.pk)

    def test_is_not_put_off_by_a_delay_of_long_ago(self):
        event = kept(Status.CANCELLED, reason=Reason.OPERATOR, available_at=in_seconds(3600))

        everything().resend()

        assert claim(1) == [event]
        assert claim(1) == []
        assert OutboxEvent.objects.filter(available_at__lte=UtcNow()).exists()

    def test_sends_nothing_itself(self, settings, django_capture_on_commit_callbacks):
        settings.BREVO_EVENTS = {}
        kept()

        with django_capture_on_commit_callbacks() as callbacks:
            everything().resend()

        assert (callbacks, locmem.sent) == ([], [])

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    @pytest.mark.parametrize("reason", Reason)
    def test_takes_whatever_did_not_go_out(self, status, reason):
        event = kept(status, reason=reason)

        assert everything().resend(include_expired=True).pks == [event.pk]

    @pytest.mark.parametrize("status", [Status.PENDING, Status.SENDING])
    def test_leaves_alone_what_is_still_waiting_or_being_sent(self, status):
        event = kept(status, attempts=3, lease_token="token", parked=True)
        before = OutboxEvent.objects.values().get()

        result = everything().resend(include_sent=True, include_outdated=True)

        assert (result.pks, result.skipped) == ([], {WAITING: 1})
        assert OutboxEvent.objects.values().get(pk=event.pk) == before

    def test_skips_what_was_sent_unless_told_otherwise(self):
        event = kept(Status.SENT, reason="")

        assert (everything().resend().pks, everything().resend().skipped) == ([], {SENT: 1})
        assert everything().resend(include_sent=True).pks == [event.pk]

    def test_twice_finds_the_event_waiting(self):
        kept()

        assert [len(everything().resend().pks), everything().resend().skipped] == [1, {WAITING: 1}]


class OutdatedTests:
    def test_is_skipped_for_a_newer_event_of_the_same_contact_and_object(self):
        stale, newest = kept(object_id="cart:1"), kept(object_id="cart:1")

        result = everything().resend()

        stale.refresh_from_db()
        assert (result.pks, result.skipped) == ([newest.pk], {OUTDATED: 1})
        assert (stale.status, stale.finished_at) == (Status.FAILED, LONG_AGO)

    def test_is_resent_when_told_so(self):
        stale, newest = kept(object_id="cart:1"), kept(object_id="cart:1")

        result = everything().resend(include_outdated=True)

        assert (sorted(result.pks), result.skipped) == ([stale.pk, newest.pk], {})

    @pytest.mark.parametrize("status", Status)
    def test_is_so_by_whatever_became_of_the_newer_one(self, status):
        stale = kept(object_id="cart:1")
        kept(status, object_id="cart:1", name="order_completed", email="ADA@example.com")

        assert OutboxEvent.objects.filter(pk=stale.pk).resend().skipped == {OUTDATED: 1}

    @pytest.mark.parametrize(
        "newer",
        [
            {"object_id": "cart:2"},
            {"object_id": "CART:1"},
            {"object_id": "cart:1 "},
            {"object_id": None},
            {"object_id": "cart:1", "email": "bob@example.com"},
            {"object_id": "cart:1", "email": "áda@example.com"},
        ],
    )
    def test_is_not_so_by_an_event_about_something_else(self, newer):
        event = kept(object_id="cart:1")
        kept(**newer)

        assert OutboxEvent.objects.filter(pk=event.pk).resend().pks == [event.pk]

    def test_is_not_so_by_an_older_event(self):
        kept(object_id="cart:1")
        event = kept(object_id="cart:1")

        assert OutboxEvent.objects.filter(pk=event.pk).resend().pks == [event.pk]

    def test_is_not_so_without_an_object(self):
        kept()
        kept()

        assert len(everything().resend().pks) == 2

    def test_is_so_without_an_object_by_a_newer_one_that_would_coalesce_with_it(self):
        stale = kept(coalesce_key="k")
        kept(Status.SENT, coalesce_key="k")

        assert OutboxEvent.objects.filter(pk=stale.pk).resend().skipped == {OUTDATED: 1}
        assert OutboxEvent.objects.filter(pk=stale.pk).resend(include_outdated=True).pks == [stale.pk]
        assert deliver() == {Status.SENT: 1}

    def test_counts_as_sent_first(self):
        kept(Status.SENT, object_id="cart:1")
        kept(object_id="cart:1")

        assert everything().resend().skipped == {SENT: 1}
        assert everything().resend(include_sent=True).skipped == {OUTDATED: 1, WAITING: 1}


class ExpiredTests:
    """Events that must not be sent any more are not resent unless asked for."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"status": Status.CANCELLED, "reason": Reason.EXPIRED, "expires_at": LONG_AGO},
            {"status": Status.CANCELLED, "reason": Reason.EXPIRED},
            {"status": Status.CANCELLED, "reason": Reason.OPERATOR, "expires_at": LONG_AGO},
            {"status": Status.FAILED, "expires_at": LONG_AGO},
        ],
        ids=["expired", "by reason alone", "cancelled in time", "failed in time"],
    )
    def test_is_skipped_and_resent_when_told_so(self, fields):
        event = kept(**fields)

        assert (everything().resend().pks, everything().resend().skipped) == ([], {EXPIRED: 1})
        assert OutboxEvent.objects.get().status == fields["status"]
        assert everything().resend(include_expired=True).pks == [event.pk]

    def test_goes_out_after_all_once_it_is_resent(self):
        kept(Status.CANCELLED, reason=Reason.EXPIRED, expires_at=LONG_AGO)

        everything().resend(include_expired=True)

        again = OutboxEvent.objects.get()
        assert (again.status, again.reason, again.expires_at) == (Status.PENDING, "", None)

    @pytest.mark.parametrize("include_expired", [True, False])
    def test_is_not_so_before_its_time_which_stays(self, include_expired):
        event = kept(expires_at=FAR_AHEAD)

        assert everything().resend(include_expired=include_expired).pks == [event.pk]
        assert OutboxEvent.objects.get().expires_at == FAR_AHEAD

    def test_is_told_after_what_is_outdated(self):
        kept(Status.CANCELLED, reason=Reason.EXPIRED, object_id="cart:1")
        kept(Status.SENT, object_id="cart:1")

        assert everything().resend().skipped == {OUTDATED: 1, SENT: 1}
        assert everything().resend(include_outdated=True).skipped == {EXPIRED: 1, SENT: 1}
        assert everything().resend(include_expired=True).skipped == {OUTDATED: 1, SENT: 1}
        assert len(everything().resend(include_expired=True, include_outdated=True).pks) == 1

    def test_takes_its_options_by_name_only(self):
        with pytest.raises(TypeError):
            everything().resend(True)


class ErasedTests:
    @pytest.mark.parametrize("status", [Status.SENT, Status.FAILED, Status.CANCELLED])
    def test_is_never_resent(self, status):
        kept(status, reason=Reason.ERASED, contact="")
        OutboxEvent.objects.update(email="", body="{}", expires_at=LONG_AGO)
        before = OutboxEvent.objects.values().get()

        result = everything().resend(include_sent=True, include_outdated=True, include_expired=True)

        assert (result.pks, result.skipped) == ([], {ERASED: 1})
        assert OutboxEvent.objects.values().get() == before

    def test_makes_no_other_event_an_outdated_one(self):
        event = kept(object_id="cart:1")
        kept(Status.SENT, object_id="cart:1")
        OutboxEvent.objects.exclude(pk=event.pk).update(contact="", object_id=None)

        assert OutboxEvent.objects.filter(pk=event.pk).resend().pks == [event.pk]


class ResentTests:
    def test_lets_a_newer_one_stand_in_for_it(self):
        event = kept(Status.FAILED, reason=Reason.REJECTED, coalesce_key="k" * 64, object_id="cart:1")

        everything().resend()

        assert OutboxEvent.objects.get(pk=event.pk).coalesce_key == "k" * 64

    def test_goes_out_as_it_is_where_an_outdated_one_was_taken_in(self):
        event = kept(Status.CANCELLED, reason=Reason.SUPERSEDED, coalesce_key="k" * 64, object_id="cart:1")
        kept(Status.SENT, coalesce_key="k" * 64, object_id="cart:1")

        everything().resend(include_outdated=True)

        assert OutboxEvent.objects.get(pk=event.pk).coalesce_key is None
        assert OutboxEvent.objects.exclude(pk=event.pk).get().coalesce_key == "k" * 64

    def test_keeps_its_idempotency_key(self):
        kept(idempotency_key="i" * 64)

        everything().resend()

        assert OutboxEvent.objects.get().idempotency_key == "i" * 64


class CancelTests:
    def test_ends_what_is_pending_and_says_what_it_skipped(self):
        events = {status: kept(status, lease_token="t" if status == Status.SENDING else None) for status in Status}
        before = list(everything().exclude(status=Status.PENDING).order_by("pk").values())

        result = everything().cancel()

        event = OutboxEvent.objects.get(pk=events[Status.PENDING].pk)
        assert (result.pks, result.skipped) == ([event.pk], {SENDING: 1, FINISHED: 3})
        assert (event.status, event.reason, event.parked) == (Status.CANCELLED, Reason.OPERATOR, False)
        assert list(everything().exclude(pk=event.pk).order_by("pk").values()) == before

    def test_leaves_it_due_for_a_worker_to_free_what_waits_behind(self):
        event = kept(Status.PENDING, parked=True, due_at=FAR_AHEAD)

        everything().cancel()

        event.refresh_from_db()
        assert abs(event.due_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert abs(event.finished_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert list(OutboxEvent.objects.due()) == [event]

    def test_keeps_what_was_captured_and_tried(self):
        event = kept(Status.PENDING, attempts=2, response_code=503, idempotency_key="i" * 64)
        SendAttempt.objects.create(event=event, started_at=LONG_AGO, duration_ms=3, response_code=503)

        everything().cancel()

        again = OutboxEvent.objects.get()
        assert (again.body, again.attempts, again.response_code) == (event.body, 2, 503)
        assert again.idempotency_key == "i" * 64
        assert again.send_attempts.count() == 1

    def test_concerns_only_what_is_chosen(self):
        one, other = kept(Status.PENDING, name="one"), kept(Status.PENDING, name="other")

        assert OutboxEvent.objects.filter(name="one").cancel().pks == [one.pk]
        assert OutboxEvent.objects.get(pk=other.pk).status == Status.PENDING

    def test_of_nothing_does_nothing(self):
        kept(Status.PENDING)

        assert OutboxEvent.objects.none().cancel().pks == []
        assert OutboxEvent.objects.get().status == Status.PENDING

    def test_of_a_dry_run_is_told_and_not_changed(self):
        event = kept(Status.PENDING)
        kept(Status.SENT)
        before = list(everything().order_by("pk").values())

        result = everything().cancel(dry_run=True)

        assert (result.pks, result.skipped) == ([event.pk], {FINISHED: 1})
        assert list(everything().order_by("pk").values()) == before

    def test_twice_finds_it_finished(self):
        kept(Status.PENDING)

        assert [len(everything().cancel().pks), everything().cancel().skipped] == [1, {FINISHED: 1}]

    def test_skips_what_a_worker_was_quicker_with(self, monkeypatch):
        events = [kept(Status.PENDING) for _ in range(3)]
        with_status = OutboxEventQuerySet.with_status

        def claimed_meanwhile(self, statuses, pks):
            OutboxEvent.objects.filter(pk=events[1].pk).update(status=Status.SENDING, lease_token="t")
            return with_status(self, statuses, pks)

        monkeypatch.setattr(OutboxEventQuerySet, "with_status", claimed_meanwhile)

        result = everything().cancel()

        assert (sorted(result.pks), result.skipped) == ([events[0].pk, events[2].pk], {SENDING: 1})
        assert OutboxEvent.objects.get(pk=events[1].pk).status == Status.SENDING

    def test_may_be_larger_than_a_batch_sliced_and_joined(self, monkeypatch):
        monkeypatch.setattr(querysets, "BATCH", 2)
        events = [kept(Status.PENDING) for _ in range(5)]
        for _ in range(2):
            SendAttempt.objects.create(event=events[4], started_at=LONG_AGO, duration_ms=3, response_code=503)

        joined = OutboxEvent.objects.filter(send_attempts__response_code=503).distinct()
        assert joined.cancel().pks == [events[4].pk]
        assert OutboxEvent.objects.order_by("pk")[:1].cancel().pks == [events[0].pk]
        assert sorted(everything().cancel().pks) == [event.pk for event in events[1:4]]

    def test_takes_few_statements(self, django_assert_max_num_queries):
        for _ in range(30):
            kept(Status.PENDING)

        with django_assert_max_num_queries(3):
            everything().cancel()

    def test_can_be_resent(self):
        event = kept(Status.PENDING)
        everything().cancel()

        assert everything().resend().pks == [event.pk]
        assert OutboxEvent.objects.get().reason == ""


class SelectionTests:
    def test_is_what_is_resent_and_nothing_else(self):
        one, other = kept(name="one"), kept(name="other")

        assert OutboxEvent.objects.filter(name="one").resend().pks == [one.pk]
        assert OutboxEvent.objects.get(pk=other.pk).status == Status.FAILED

    def test_that_is_empty_means_nothing(self):
        kept()

        assert OutboxEvent.objects.none().resend().pks == []
        assert OutboxEvent.objects.filter(name="nothing").resend().pks == []
        assert OutboxEvent.objects.get().status == Status.FAILED

    def test_may_be_sliced_ordered_and_joined(self):
        events = [kept() for _ in range(3)]
        for _ in range(2):
            SendAttempt.objects.create(event=events[2], started_at=LONG_AGO, duration_ms=3, response_code=503)

        assert OutboxEvent.objects.order_by("-pk")[1:2].resend().pks == [events[1].pk]
        joined = OutboxEvent.objects.filter(send_attempts__response_code=503).distinct()
        assert joined.resend().pks == [events[2].pk]

    def test_may_be_larger_than_a_batch(self, monkeypatch):
        monkeypatch.setattr(querysets, "BATCH", 2)
        events = [kept() for _ in range(5)]
        kept(Status.SENT)
        kept(Status.SENT)

        result = everything().resend()

        assert (sorted(result.pks), result.skipped) == ([event.pk for event in events], {SENT: 2})
        assert OutboxEvent.objects.filter(status=Status.PENDING).count() == 5

    def test_takes_few_statements(self, django_assert_max_num_queries):
        for _ in range(30):
            kept()

        with django_assert_max_num_queries(3):
            everything().resend()

    def test_of_a_dry_run_is_told_and_not_changed(self):
        event = kept(object_id="cart:1")
        kept(Status.SENT, object_id="cart:2")
        before = list(OutboxEvent.objects.order_by("pk").values())

        result = everything().resend(dry_run=True)

        assert (result.pks, result.skipped) == ([event.pk], {SENT: 1})
        assert list(OutboxEvent.objects.order_by("pk").values()) == before

    def test_is_told_in_the_language_of_the_reader(self):
        kept(Status.SENT)

        with translation.override("en"):
            assert everything().resend().skipped == {"already sent": 1}


class WithStatusTests:
    def test_finds_those_that_are_in_one_of_the_statuses(self):
        events = {status: kept(status) for status in Status}
        pks = [event.pk for event in events.values()]

        assert set(OutboxEvent.objects.with_status([Status.PENDING, Status.SENT], pks)) == {
            events[Status.PENDING],
            events[Status.SENT],
        }
        assert list(OutboxEvent.objects.with_status(Status, pks[1:2])) == [events[Status.SENDING]]
        assert not OutboxEvent.objects.with_status([Status.PENDING], []).exists()


class FiltersTests:
    def test_unfinished_is_what_has_still_to_go_out(self):
        events = {status: kept(status) for status in Status}

        found = set(OutboxEvent.objects.unfinished())
        assert found == {events[Status.PENDING], events[Status.SENDING]}

    def test_of_contact_finds_an_address_in_any_case(self):
        track("a", "Ada@Example.com")
        track("a", "ada@example.com")
        track("a", "bob@example.com")

        assert OutboxEvent.objects.of_contact(" ADA@example.COM ").count() == 2

    @pytest.mark.parametrize("model", [OutboxEvent, SendAttempt, HourlyCount])
    def test_managers_read_from_the_database_that_is_written_to(self, settings, model):
        settings.DATABASE_ROUTERS = [ElsewhereRouter()]

        assert model.objects.db == model.objects.all().db == model.objects.exclude(pk=None).db == "default"
        assert model.objects.using("other").db == model.objects.db_manager("other").all().db == "other"

    def test_attempts_of_an_event_are_read_from_there_too(self, settings):
        event = kept()
        settings.DATABASE_ROUTERS = [ElsewhereRouter()]

        assert event.send_attempts.all().db == "default"
