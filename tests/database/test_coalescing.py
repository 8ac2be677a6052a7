"""Events that must not be sent any more: older events of a key, expired ones, and those that a user has ended."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection, connections, transaction
from django.db.models import F

from brevo_events import Event, cancel, commerce, track, track_many
from brevo_events.choices import Reason, Status
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.delivery import deliver
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.models import Gate, OutboxEvent
from brevo_events.signals import event_cancelled
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests.deliveries import answered, claim, open_gate, record
from tests.rows import held_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture(autouse=True)
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker", "MAX_ATTEMPTS": 12}


@pytest.fixture
def announced():
    """The cancelled events that observers were told of, each with its reason, and whether a transaction was open."""
    told = []

    def tell(sender, event, **kwargs):
        told.append((event.pk, event.reason, connection.in_atomic_block))

    event_cancelled.connect(tell)
    yield told
    event_cancelled.disconnect(tell)


def edit(content, email=ADA, **options):
    """Capture one state of a cart."""
    return track("cart_updated", email, object_id="cart:1", data={"n": content}, coalesce=True, **options)


def contents(brevo):
    return [request.json["eventdata"]["data"]["n"] for request in brevo.requests]


def fresh(event):
    return OutboxEvent.objects.get(pk=event.pk)


def end_of(event):
    found = fresh(event)
    return found.status, found.reason


def ends():
    return list(OutboxEvent.objects.order_by("pk").values_list("status", "reason"))


def seconds_until(moment):
    return (moment - OutboxEvent.objects.annotate(now=UtcNow()).values_list("now", flat=True)[0]).total_seconds()


def let_pass(seconds):
    """Let time go by for all that is unfinished, or has still to be settled."""
    span = timedelta(seconds=seconds)
    OutboxEvent.objects.exclude(due_at=None).update(
        available_at=F("available_at") - span, due_at=F("due_at") - span, expires_at=F("expires_at") - span
    )


def assert_all_is_over():
    assert not OutboxEvent.objects.unfinished().exists()
    assert not OutboxEvent.objects.exclude(due_at=None).exists()
    assert not OutboxEvent.objects.exclude(lease_token=None).exists()
    assert not OutboxEvent.objects.filter(parked=True).exists()
    assert not OutboxEvent.objects.filter(finished_at=None).exists()


SUPERSEDED = (Status.CANCELLED, Reason.SUPERSEDED)
EXPIRED = (Status.CANCELLED, Reason.EXPIRED)
SENT = (Status.SENT, "")


class NewestTests:
    @pytest.mark.parametrize("delay", [None, 60])
    def test_goes_out_for_ten_saves_in_one_request(self, fake_brevo, delay):
        with transaction.atomic():
            for n in range(10):
                edit(n, delay=delay)
        let_pass(delay or 0)

        deliver()

        assert contents(fake_brevo) == [9]
        assert ends() == [SUPERSEDED] * 9 + [SENT]
        assert_all_is_over()

    def test_goes_out_for_ten_requests_within_the_delay(self, fake_brevo):
        for n in range(10):
            edit(n, delay=60)
            deliver()
            let_pass(5)
        assert contents(fake_brevo) == []
        let_pass(10)

        deliver()
        deliver()

        assert contents(fake_brevo) == [9]
        assert ends() == [SUPERSEDED] * 9 + [SENT]
        assert_all_is_over()

    def test_is_claimed_once_and_by_one_worker_only(self):
        events = [edit(n) for n in range(10)]

        assert claim(10) == [events[-1]]
        assert claim(10) == []
        assert ends() == [SUPERSEDED] * 9 + [(Status.SENDING, "")]

    def test_superseding_never_keeps_the_events_of_others_from_being_leased(self):
        for n in range(5):
            edit(n)
        newest, other = edit(5), track("a", BOB)

        assert claim(10) == [other]
        assert claim(10) == [newest]

    def test_a_storm_of_captures_holds_up_nobody_else(self, fake_brevo):
        if not connection.features.has_select_for_update:
            pytest.skip("SQLite has one writer at a time")
        stopping, worker = threading.Event(), Worker()

        def capture():
            while not stopping.is_set():
                edit("again")
            connections.close_all()

        def work():
            worker.run()
            connections.close_all()

        threads = [threading.Thread(target=target) for target in (capture, capture, work)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        others = [track("a", f"{n}@example.com") for n in range(20)]
        sent = OutboxEvent.objects.filter(pk__in=[event.pk for event in others], status=Status.SENT)
        while sent.count() < 20 and time.monotonic() - began < 20:
            time.sleep(0.05)
        took = time.monotonic() - began
        stopping.set()
        worker.stop()
        for thread in threads:
            thread.join()

        assert sent.count() == 20
        assert took < 5

    def test_is_pulled_forward_when_the_first_falls_due(self, fake_brevo):
        first = edit("first", delay=60)
        let_pass(30)
        middle = edit("middle", delay=60)
        newest = edit("newest", delay=300)
        assert claim(10) == []
        let_pass(30)

        assert claim(10) == [newest]
        assert claim(10) == []

        assert end_of(first) == end_of(middle) == SUPERSEDED
        assert seconds_until(fresh(newest).available_at) <= 0

    @pytest.mark.parametrize(
        "other",
        [
            Event("cart_updated", ADA, object_id="cart:2", coalesce=True),
            Event("cart_updated", BOB, object_id="cart:1", coalesce=True),
            Event("cart_viewed", ADA, object_id="cart:1", coalesce=True),
            Event("cart_updated", ADA, object_id="cart:1"),
        ],
    )
    def test_stands_in_for_its_like_only(self, other):
        older = edit(1)
        track(other)

        assert older in claim(10)
        claim(10)

        assert not OutboxEvent.objects.filter(status=Status.CANCELLED).exists()

    def test_takes_its_turn_behind_what_its_contact_did_before(self, fake_brevo):
        edit("older", delay=60)
        track("between", ADA, data={"n": "between"})
        edit("newest", delay=60)
        track("after", ADA, data={"n": "after"})
        assert claim(10) != []
        assert claim(10) == []
        let_pass(100)

        deliver()

        assert contents(fake_brevo) == ["between", "newest", "after"]

    def test_is_found_among_thousands_with_one_look_for_who_waits_behind_them(self):
        looks = []

        def watch(execute, sql, params, many, context):
            if "o.parked" in sql:
                (keys,) = params
                looks.append(len(json.loads(keys) if isinstance(keys, str) else keys))
            return execute(sql, params, many, context)

        track_many([Event("a", ADA, coalesce=True) for _ in range(1500)])

        with connection.execute_wrapper(watch):
            assert claim(10) == [OutboxEvent.objects.latest("pk")]

        assert looks
        assert max(looks) < 10
        assert claim(10) == []

    def test_of_many_keys_goes_out_for_each(self, fake_brevo):
        track_many(
            [
                Event("a", f"{n % 20}@example.com", object_id="x", data={"n": n}, coalesce=True, delay=n % 3 or None)
                for n in range(600)
            ]
        )
        let_pass(10)

        deliver()

        assert sorted(contents(fake_brevo)) == list(range(580, 600))
        assert_all_is_over()


class SteadyEditingTests:
    def test_sends_one_a_minute_and_not_fewer(self, fake_brevo):
        times = []
        for moment in range(0, 3600, 10):
            edit(moment, delay=60)
            made = len(fake_brevo.requests)
            deliver()
            times += [moment] * (len(fake_brevo.requests) - made)
            let_pass(10)
        let_pass(60)
        deliver()

        gaps = {later - earlier for earlier, later in pairwise(times)}
        assert 50 <= len(fake_brevo.requests) <= 61
        assert times[0] == 60
        assert gaps <= {60, 70}
        assert contents(fake_brevo) == [*times, 3590]
        assert_all_is_over()


class SendingTests:
    def test_is_never_touched_and_the_newer_one_follows(self, fake_brevo):
        older = edit("older")
        (claimed,) = claim(10)
        newer = edit("newer")

        assert claim(10) == []
        assert fresh(older).lease_token == claimed.lease_token
        record([answered(claimed)])

        assert claim(10) == [newer]
        assert claim(10) == []
        assert end_of(older) == SENT

    @pytest.mark.parametrize("status", [500, 429, 401, None])
    def test_is_superseded_when_put_back_while_a_newer_one_waits(self, fake_brevo, status, announced):
        older = edit("older")
        (claimed,) = claim(10)
        newer = edit("newer")
        assert claim(10) == []

        record([answered(claimed, status)])

        assert end_of(older) == SUPERSEDED
        assert fresh(older).due_at is None
        assert fresh(older).send_attempts.count() == 1
        assert announced == [(older.pk, Reason.SUPERSEDED, False)]
        open_gate()
        assert claim(10) == [newer]
        assert claim(10) == []

    def test_is_superseded_when_put_back_while_the_newer_one_has_its_delay(self):
        older = edit("older")
        (claimed,) = claim(10)
        newer = edit("newer", delay=60)

        record([answered(claimed, 500)])

        assert end_of(older) == SUPERSEDED
        assert claim(10) == []
        let_pass(60)
        assert claim(10) == [newer]

    def test_is_superseded_when_a_worker_ends_before_its_turn(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        fake_brevo.always(Reply(204, delay=0.5))
        track("slow", BOB)
        older = edit("older")
        worker = Worker()
        assert worker.work()
        assert end_of(older) == (Status.SENDING, "")
        newer = edit("newer")

        worker.stop()
        worker.run()

        assert end_of(older) == SUPERSEDED
        assert end_of(newer) == (Status.PENDING, "")
        assert [request.json["event"] for request in fake_brevo.requests] == ["slow"]
        assert claim(10) == [newer]

    def test_is_superseded_when_the_gate_closes_before_its_turn(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        fake_brevo.always(Reply.error(401, "unauthorized", delay=0.5))
        track("slow", BOB)
        older = edit("older")
        pipeline = Pipeline()
        assert pipeline.step()
        assert end_of(older) == (Status.SENDING, "")
        newer = edit("newer")

        Gate.load().close("account", 401)
        while pipeline.step():
            pass
        pipeline.close()

        assert end_of(older) == SUPERSEDED
        assert end_of(newer) == (Status.PENDING, "")

    @pytest.mark.parametrize("delay", [None, 60])
    def test_is_superseded_when_its_lease_ran_out_and_a_newer_one_waits(self, delay, caplog):
        older = edit("older")
        (late,) = claim(10)
        newer = edit("newer", delay=delay)
        OutboxEvent.objects.filter(pk=older.pk).update(due_at=in_seconds(-1))

        assert claim(10) == [newer]
        assert claim(10) == []

        assert end_of(older) == SUPERSEDED
        record([answered(late)])
        assert end_of(older) == SUPERSEDED
        assert "lease had run out" in caplog.text

    @pytest.mark.parametrize("status", [500, 429, 401, None])
    def test_is_superseded_when_put_back_after_its_order(self, status, announced):
        cart = track("cart_updated", ADA, object_id="cart:1")
        (claimed,) = claim(10)
        order = track("order_completed", ADA, object_id="cart:1", supersedes=["cart_updated"])
        assert claim(10) == []

        record([answered(claimed, status)])

        assert end_of(cart) == SUPERSEDED
        assert announced == [(cart.pk, Reason.SUPERSEDED, False)]
        open_gate()
        assert claim(10) == [order]

    def test_is_sent_if_it_arrives_though_its_order_is_there(self):
        cart = track("cart_updated", ADA, object_id="cart:1")
        (claimed,) = claim(10)
        order = track("order_completed", ADA, object_id="cart:1", supersedes=["cart_updated"])

        record([answered(claimed)])

        assert end_of(cart) == SENT
        assert claim(10) == [order]

    def test_is_put_back_if_the_checkout_is_rolled_back(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
        cart = track("cart_updated", ADA, object_id="cart:1")
        (claimed,) = claim(10)
        with transaction.atomic():
            track("order_completed", ADA, object_id="cart:1", supersedes=["cart_updated"])
            transaction.set_rollback(True)

        record([answered(claimed, 500)])

        assert claim(10) == [cart]

    def test_is_superseded_by_its_order_when_its_lease_ran_out(self, announced):
        cart = track("cart_updated", ADA, object_id="cart:1")
        claim(10)
        order = track("order_completed", ADA, object_id="cart:1", supersedes=["cart_updated"])
        OutboxEvent.objects.filter(pk=cart.pk).update(due_at=in_seconds(-1))

        assert claim(10) == [order]

        assert end_of(cart) == SUPERSEDED
        assert fresh(cart).lease_token is None
        assert announced == [(cart.pk, Reason.SUPERSEDED, False)]

    def test_that_stays_the_newest_is_tried_again(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
        event = edit("only")
        record([answered(claim(10)[0], 500)])

        assert claim(10) == [event]
        assert claim(10) == []


class LateCommitTests:
    @pytest.fixture
    def late(self):
        """An older event whose transaction has not been committed yet."""
        event = fresh(edit("late"))
        OutboxEvent.objects.filter(pk=event.pk).delete()
        return event

    def test_of_an_older_one_after_a_newer_was_sent_goes_out_no_more(self, fake_brevo, late):
        edit("newer")
        deliver()

        late.save(force_insert=True)
        deliver()

        assert contents(fake_brevo) == ["newer"]
        assert end_of(late) == SUPERSEDED
        assert_all_is_over()

    def test_of_an_older_one_while_a_newer_is_sent_goes_out_no_more(self, late):
        newer = edit("newer")
        assert claim(10) == [newer]

        late.save(force_insert=True)

        assert claim(10) == []
        assert end_of(late) == SUPERSEDED
        assert end_of(newer) == (Status.SENDING, "")

    def test_of_an_older_one_frees_what_waited_behind_it(self, late):
        edit("newer")
        record([answered(claim(10)[0])])
        follower = track("after", ADA)
        late.save(force_insert=True)

        assert claim(10) == [follower]
        assert claim(10) == []


class DelayTests:
    def test_of_one_event_holds_up_no_other_of_its_contact(self, fake_brevo):
        edit("delayed", delay=60)
        track("a", ADA, data={"n": "prompt"})
        track("b", ADA, data={"n": "second"})

        deliver()

        assert contents(fake_brevo) == ["prompt", "second"]
        assert ends() == [(Status.PENDING, ""), SENT, SENT]

    def test_that_ends_while_a_later_event_is_sent_lets_that_one_end_first(self):
        delayed = edit("delayed", delay=60)
        later = track("a", ADA)
        (claimed,) = claim(10)
        assert claimed == later
        let_pass(60)
        OutboxEvent.objects.filter(pk=later.pk).update(due_at=in_seconds(60))

        assert claim(10) == []
        assert claim(10) == []
        record([answered(claimed)])
        let_pass(1)

        assert claim(10) == [delayed]
        assert claim(10) == []

    def test_that_ends_while_a_later_event_is_sent_by_a_dead_worker_keeps_the_order(self):
        delayed = edit("delayed", delay=60)
        later = track("a", ADA)
        assert claim(10) == [later]
        let_pass(600)

        first = claim(10)
        let_pass(1)
        first += claim(10)
        assert first == [delayed]
        record([answered(first[0])])

        assert claim(10) == [later]


class ExpiryTests:
    def test_ends_an_event_that_a_worker_claims_too_late(self, fake_brevo, announced):
        event = track("a", ADA, expires=60)
        let_pass(60)

        deliver()

        assert fake_brevo.requests == []
        assert end_of(event) == EXPIRED
        assert announced == [(event.pk, Reason.EXPIRED, False)]
        assert_all_is_over()

    def test_lets_the_next_one_of_the_contact_go(self):
        expiring, follower = track("a", ADA, expires=60), track("b", ADA)
        record([answered(claim(10)[0], 500)])
        assert claim(10) == []
        assert fresh(follower).parked
        let_pass(60)

        assert claim(10) == [follower]
        assert claim(10) == []
        assert end_of(expiring) == EXPIRED

    def test_ends_one_that_waits_for_its_next_attempt_when_it_expires(self):
        expiring, follower = track("a", ADA, expires=60), track("b", ADA)
        record([answered(claim(10)[0], 503, headers={"retry-after": "3600"})])
        assert claim(10) == []
        let_pass(59)
        assert claim(10) == []
        let_pass(1)

        assert claim(10) == [follower]
        assert end_of(expiring) == EXPIRED

    @pytest.mark.parametrize("status", [500, 401, None])
    def test_ends_an_event_that_is_put_back(self, status, announced):
        event, follower = track("a", ADA, expires=60), track("b", ADA)
        (claimed,) = claim(10)
        OutboxEvent.objects.filter(pk=event.pk).update(expires_at=in_seconds(-1))

        record([answered(claimed, status)])

        assert end_of(event) == EXPIRED
        assert announced == [(event.pk, Reason.EXPIRED, False)]
        open_gate()
        assert claim(10) == [follower]

    def test_ends_an_event_that_was_sent_too_late_as_sent(self):
        event = track("a", ADA, expires=60)
        (claimed,) = claim(10)
        OutboxEvent.objects.filter(pk=event.pk).update(expires_at=in_seconds(-1))

        record([answered(claimed, 204)])

        assert end_of(event) == SENT

    def test_ends_an_event_in_the_senders_queue(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        fake_brevo.always(Reply(204, delay=0.9))
        track("slow", BOB)
        event = track("a", ADA, expires=0.7)
        pipeline = Pipeline()
        pipeline.step()
        assert end_of(event) == (Status.SENDING, "")

        while pipeline.step():
            pass
        pipeline.close()

        assert [request.json["event"] for request in fake_brevo.requests] == ["slow"]
        assert end_of(event) == EXPIRED
        assert_all_is_over()

    def test_ends_what_a_dead_worker_had(self):
        event = track("a", ADA, expires=60)
        assert claim(10) == [event]
        let_pass(600)

        assert claim(10) == []
        assert end_of(event) == EXPIRED

    def test_is_taken_from_the_settings_by_name(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "EXPIRES": {"a": 60}}
        track("a", ADA)
        track("b", BOB)
        let_pass(60)

        deliver()

        assert [request.json["event"] for request in fake_brevo.requests] == ["b"]


class SupersedingTests:
    def cart(self, **more):
        return commerce.cart_updated(ADA, cart_id=7, currency="EUR", items=[], **more)

    def order(self, number="A-1"):
        return commerce.order_completed(ADA, order_id=number, cart_id=7, currency="EUR", items=[])

    def test_right_after_a_cart_only_the_order_goes_out(self, fake_brevo):
        cart = track(self.cart())
        order = track(self.order())

        deliver()

        assert [request.json["event"] for request in fake_brevo.requests] == ["order_completed"]
        assert (end_of(cart), end_of(order)) == (SUPERSEDED, SENT)
        assert_all_is_over()

    def test_of_a_checkout_that_is_rolled_back_leaves_the_cart_pending(self):
        cart = track(self.cart())

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            track(self.order())
            assert end_of(cart) == SUPERSEDED
            raise ZeroDivisionError

        assert end_of(cart) == (Status.PENDING, "")
        assert claim(10) == [cart]
        assert claim(10) == []

    def test_does_not_touch_what_is_being_sent_and_comes_after_it(self, fake_brevo):
        cart = track(self.cart())
        (claimed,) = claim(10)
        order = track(self.order())

        assert claim(10) == []
        record([answered(claimed)])

        assert end_of(cart) == SENT
        assert claim(10) == [order]

    def test_leaves_what_was_captured_later(self):
        order, cart = track(self.order()), track(self.cart())
        (claimed,) = claim(10)
        assert claimed == order
        record([answered(claimed)])

        assert claim(10) == [cart]

    def test_by_a_page_that_is_loaded_five_times_keeps_one_order(self, fake_brevo):
        track(self.cart())
        kept = [track(self.order()) for _ in range(5)]

        deliver()
        kept += [track(self.order()) for _ in range(5)]
        deliver()

        assert [event is not None for event in kept] == [True] + [False] * 9
        assert [request.json["event"] for request in fake_brevo.requests] == ["order_completed"]
        assert_all_is_over()


class FollowersTests:
    @pytest.fixture
    def line(self):
        """A cart that waits for its next attempt, and two events that are parked behind it."""
        head = edit("head")
        followers = [track("a", ADA), track("b", ADA)]
        record([answered(claim(10)[0], 500)])
        assert claim(10) == []
        assert [fresh(event).parked for event in followers] == [True, True]
        return head, *followers

    def test_are_freed_when_a_user_cancels_the_one_ahead(self, line):
        head, follower, last = line

        assert cancel(ADA, name="cart_updated") == 1

        assert claim(10) == [follower]
        assert claim(10) == []
        assert fresh(head).due_at is None
        assert fresh(last).parked

    def test_are_freed_when_an_event_supersedes_the_one_ahead(self, line):
        head, follower, _last = line

        track("order_completed", ADA, object_id="cart:1", supersedes=["cart_updated"])

        assert claim(10) == [follower]
        assert claim(10) == []
        assert end_of(head) == SUPERSEDED

    def test_are_freed_when_a_newer_one_stands_in_for_the_one_ahead(self, line):
        head, follower, _last = line
        newer = edit("newer")

        assert claim(10) == [follower]
        assert claim(10) == []

        assert end_of(head) == SUPERSEDED
        assert end_of(newer) == (Status.PENDING, "")

    def test_are_freed_when_the_one_ahead_is_superseded_while_it_is_put_back(self, line):
        head, follower, _last = line
        OutboxEvent.objects.filter(pk=head.pk).update(due_at=UtcNow())
        (claimed,) = claim(10)
        edit("newer")

        record([answered(claimed, 500)])

        assert end_of(head) == SUPERSEDED
        assert claim(10) == [follower]
        assert claim(10) == []

    def test_are_freed_when_the_one_between_is_cancelled(self, line):
        head, follower, last = line
        OutboxEvent.objects.filter(pk=follower.pk).cancel()
        OutboxEvent.objects.filter(pk=head.pk).update(due_at=UtcNow())
        (claimed,) = claim(10)
        record([answered(claimed)])

        assert claim(10) == [last]
        assert claim(10) == []

    def test_are_freed_later_where_somebody_holds_them(self, line):
        head, follower, _last = line
        cancel(ADA, name="cart_updated")

        with held_elsewhere(follower):
            assert claim(10) == []
            assert 0 < seconds_until(fresh(head).due_at) <= 1.5
        let_pass(2)

        assert claim(10) == [follower]
        assert fresh(head).due_at is None

    def test_nothing_is_freed_by_a_cancellation_that_is_rolled_back(self, line):
        with transaction.atomic():
            cancel(ADA, name="cart_updated")
            transaction.set_rollback(True)

        assert claim(10) == []
        assert [fresh(event).parked for event in line] == [False, True, True]


class AnnouncementTests:
    def test_is_made_once_for_each_and_after_the_commit(self, announced):
        by_user = track("a", "1@example.com")
        by_order = [edit(n, "2@example.com") for n in range(2)]
        older = [edit(n, "3@example.com") for n in range(3)]
        expired = track("a", "4@example.com", expires=60)
        OutboxEvent.objects.filter(pk=expired.pk).update(expires_at=in_seconds(-1))
        with transaction.atomic():
            cancel("1@example.com")
            track("order_completed", "2@example.com", object_id="cart:1", supersedes=["cart_updated"])
            assert announced == []
        assert announced == []

        claim(10)
        claim(10)

        reasons = {by_user.pk: Reason.APPLICATION, expired.pk: Reason.EXPIRED}
        reasons |= dict.fromkeys((event.pk for event in (*by_order, *older[:2])), Reason.SUPERSEDED)
        assert sorted(announced) == sorted((pk, reason, False) for pk, reason in reasons.items())

    def test_is_not_made_for_what_is_rolled_back(self, announced):
        track("a", ADA)
        with transaction.atomic():
            cancel(ADA)
            transaction.set_rollback(True)

        claim(10)

        assert announced == []

    @pytest.mark.parametrize("ended_by", ["claim", "record", "user"])
    def test_is_made_once_where_the_follower_is_freed_later(self, announced, ended_by):
        older, follower = edit("older"), track("a", ADA)
        (claimed,) = claim(10)
        assert claim(10) == []
        assert fresh(follower).parked
        if ended_by != "record":
            record([answered(claimed, 500)])
        if ended_by == "user":
            cancel(ADA, name="cart_updated")
        else:
            edit("newer")

        with held_elsewhere(follower):
            if ended_by == "record":
                record([answered(claimed, 500)])
            claim(10)
            assert fresh(older).due_at is not None
        let_pass(2)
        assert claim(10) == [follower]
        claim(10)

        reason = Reason.APPLICATION if ended_by == "user" else Reason.SUPERSEDED
        assert announced == [(older.pk, reason, False)]
        assert fresh(older).due_at is None


class LockedTests:
    def test_while_the_newest_is_nothing_of_the_key_is_sent_but_others_go_on(self):
        older, newest, other = edit("older"), edit("newest"), track("a", BOB)

        with held_elsewhere(newest):
            began = time.monotonic()
            assert claim(10) == [other]
            assert claim(10) == []
            took = time.monotonic() - began
            assert 0 < seconds_until(fresh(older).due_at) <= 1.5
        let_pass(2)

        assert took < 1
        assert claim(10) == [newest]
        assert claim(10) == []
        assert end_of(older) == SUPERSEDED

    def test_while_an_older_one_is_the_newest_waits_a_moment(self):
        older, newest = edit("older"), edit("newest")

        with held_elsewhere(older):
            assert claim(10) == []
            assert 0 < seconds_until(fresh(newest).due_at) <= 1.5
        let_pass(2)

        assert claim(10) == [newest]
        assert claim(10) == []
        assert end_of(older) == SUPERSEDED

    def test_while_a_delayed_older_one_is_it_does_not_go_out_afterwards(self):
        older, newest = edit("older", delay=60), edit("newest")

        with held_elsewhere(older):
            (claimed,) = claim(10)
            record([answered(claimed)])
        let_pass(60)

        assert claimed == newest
        assert claim(10) == []
        assert end_of(older) == SUPERSEDED

    def test_a_record_waits_for_nobody_who_holds_the_newest(self):
        older = edit("older")
        (claimed,) = claim(10)
        newest = edit("newest")

        with held_elsewhere(newest):
            began = time.monotonic()
            left = record([answered(claimed, 500)])
            took = time.monotonic() - began

        assert (left, took < 1) == ([], True)
        assert end_of(older) == SUPERSEDED
        assert claim(10) == [newest]


class ResendTests:
    def test_of_an_old_coalesced_event_really_goes_out_when_told_so(self, fake_brevo):
        old = edit("old")
        edit("new")
        deliver()
        chosen = OutboxEvent.objects.filter(pk=old.pk)
        assert chosen.resend().pks == []

        assert chosen.resend(include_outdated=True).pks == [old.pk]
        deliver()

        assert contents(fake_brevo) == ["new", "old"]
        assert end_of(old) == SENT
        assert_all_is_over()

    def test_is_not_superseded_by_a_newer_one_that_waits(self):
        old = edit("old")
        record([answered(claim(10)[0], 400)])
        newer = edit("newer")
        OutboxEvent.objects.filter(pk=old.pk).resend(include_outdated=True)

        (claimed,) = claim(10)
        assert claimed == old
        assert claim(10) == []
        record([answered(claimed)])

        assert claim(10) == [newer]
