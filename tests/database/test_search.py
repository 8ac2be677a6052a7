from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, commerce, privacy, track, track_many
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent
from brevo_events.search import search
from tests.browsing import ADA, BOB, LIST, root, staff

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("by_hand")]


def found(text, *, by_contact=True):
    return list(search(OutboxEvent.objects.order_by("pk"), text, by_contact=by_contact))


def order(number="2026-000001", email=ADA):
    item = commerce.Item(name="shirt", price=5, quantity=1)
    return track(commerce.order_completed(email, cart_id=1, order_id=number, currency="EUR", items=[item]))


class ReferenceTests:
    def test_is_the_number_of_an_order(self):
        assert order().reference == "2026-000001"

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ("A-1", "A-1"),
            (77, "77"),
            (" A-1 ", "A-1"),
            ("x" * 300, "x" * 100),
            ("", None),
            (" ", None),
            (None, None),
            (True, None),
            (1.5, None),
            ({"no": 1}, None),
            (["a"], None),
        ],
    )
    def test_is_the_id_in_the_data_if_that_is_short_and_plain(self, value, kept):
        assert track("viewed", ADA, data={"id": value, "items": []}).reference == kept

    def test_is_none_without_data(self):
        assert track("viewed", ADA).reference is None
        assert track_many([Event("viewed", ADA), Event("viewed", ADA, data={"id": "7"})])[1].reference == "7"

    def test_is_erased_with_its_contact(self):
        order()

        list(privacy.erase(ADA))

        assert OutboxEvent.objects.get().reference is None

    def test_costs_no_statement(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            track("viewed", ADA, data={"id": "7"})


class SearchTests:
    def test_finds_an_order_by_its_number(self):
        wanted = order()
        order("2026-000002", BOB)

        assert found("2026-000001") == found(" 2026-000001 ") == [wanted]

    def test_finds_an_event_by_its_id_as_pages_write_it(self):
        event = track("viewed", ADA)

        assert found(f"#{event.pk}") == found(str(event.pk)) == found(f"# {event.pk}") == [event]

    def test_finds_by_a_number_whatever_has_it(self):
        event = track("viewed", ADA)
        other = track("viewed", BOB, data={"id": event.pk}, object_id="x")
        third = track("viewed", BOB, object_id=str(event.pk))

        assert found(str(event.pk)) == [event, other, third]
        assert found(f"#{event.pk}") == [event]

    @pytest.mark.parametrize("text", ["ADA@example.com", "cart:1234", "order:77"])
    def test_finds_by_address_object_and_idempotency_key(self, text):
        event = track("viewed", ADA, object_id="cart:1234", idempotency_key="order:77")
        track("viewed", BOB, object_id="cart:12345")

        assert found(text) == [event]

    @pytest.mark.parametrize("text", ["nobody@example.com", "nothing", "9" * 40, "#", "#x", "²", "\0"])
    def test_finds_nothing_by_what_is_not_there(self, text):
        track("viewed", ADA)

        assert found(text) == ([] if text != "\0" else list(OutboxEvent.objects.all()))

    def test_without_the_permission_nothing_is_found_by_an_address(self):
        track("viewed", ADA, object_id=ADA, data={"id": ADA})

        assert found(ADA, by_contact=False) == []
        assert len(found(ADA)) == 1

    def test_is_what_the_list_does(self):
        event = order()

        for browser in (root(), staff("view_outboxevent")):
            listed = browser.get(LIST, {"q": "2026-000001"}).context["cl"].result_list
            assert list(listed) == [event]

    def test_finds_with_an_order_what_else_was_sent_about_its_cart(self):
        cart = track("cart_updated", ADA, object_id="cart:1", idempotency_key="first")
        track("cart_updated", BOB, object_id="cart:1")
        wanted = order()

        assert wanted.object_id == "cart:1"
        assert found("2026-000001") == found("first") == [cart, wanted]
        assert found(f"#{wanted.pk}") == [wanted]

    def test_does_not_take_what_many_events_have_in_common_for_an_order(self):
        many = [track("viewed", ADA, object_id=f"page:{number}", data={"id": "mug"}) for number in range(11)]
        track("viewed", ADA, object_id="page:1")

        assert found("mug") == many

    def test_asks_for_each_meaning_by_itself(self):
        order()
        with CaptureQueriesContext(connection) as queries:
            found("2026-000001")

        assert len(queries) == 5  # reference, object, key; what the order is about; then the events


class ContactTests:
    def test_newest_events_of_any_status_come_first_page_by_page(self):
        events = [track("viewed", ADA) for _ in range(6)]
        track("viewed", BOB)
        for event, status in zip(events, (Status.SENT, Status.FAILED, Status.CANCELLED, Status.SENT), strict=False):
            OutboxEvent.objects.filter(pk=event.pk).update(status=status, due_at=None, finished_at=timezone.now())
        contact = events[0].contact

        first = OutboxEvent.objects.newest_of_contact(contact, 4)

        assert first == events[:1:-1]
        assert OutboxEvent.objects.newest_of_contact(contact, 4, before=first[-1].pk) == events[1::-1]
        assert OutboxEvent.objects.newest_of_contact("", 4) == []


class BetweenTests:
    def test_captured_and_finished_take_the_beginning_and_leave_out_the_end(self):
        noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
        hour = dt.timedelta(hours=1)
        for number in range(3):
            event = track("viewed", ADA)
            moment = noon + number * hour
            values = {"created_at": moment, "finished_at": moment, "status": Status.FAILED}
            OutboxEvent.objects.filter(pk=event.pk).update(**values)
        events = OutboxEvent.objects.order_by("pk")

        assert [event.created_at for event in events.captured_between(noon, noon + hour)] == [noon]
        assert events.captured_between(None, noon + hour).count() == 1
        assert events.captured_between(noon + hour, None).count() == 2
        assert events.finished_between(Status.FAILED, noon, noon + 2 * hour).count() == 2
        assert events.finished_between(Status.SENT, None, None).count() == 0
