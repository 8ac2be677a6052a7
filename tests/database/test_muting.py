from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.dispatch import Signal

from brevo_events import Event, cancel, muted, registration, track, track_many, track_on
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent
from brevo_events.muting import is_muted
from brevo_events.transports import locmem

pytestmark = pytest.mark.usefixtures("by_hand")

ADA = "ada@example.com"


def names():
    return list(OutboxEvent.objects.order_by("pk").values_list("name", flat=True))


@pytest.mark.django_db(transaction=True)
class MutedTests:
    def test_captures_nothing_inside_and_everything_after_it(self, django_assert_num_queries):
        with muted(), django_assert_num_queries(0):
            assert track("viewed", ADA) is None
            assert track("", "is never looked at") is None
            assert track(Event("viewed", ADA)) is None
            assert track_many([Event("viewed", ADA)]) == []

        track("after", ADA)

        assert names() == ["after"]

    def test_calls_no_function_of_track_on(self, monkeypatch):
        monkeypatch.setattr(registration, "registrations", [])
        changed = Signal()
        called = []

        @track_on(changed)
        def cart_changed(**kwargs):
            called.append(kwargs)
            return Event("changed", ADA)

        with muted():
            changed.send(None)
        changed.send(None)

        assert len(called) == 1
        assert names() == ["changed"]

    def test_ends_after_an_error(self):
        with pytest.raises(ZeroDivisionError), muted():
            raise ZeroDivisionError

        assert track("viewed", ADA) is not None

    def test_ends_with_the_outermost_of_several(self):
        quiet = muted()
        with quiet:
            with quiet, muted():
                assert is_muted()
            assert is_muted()

        assert not is_muted()

    def test_lets_go_on_what_was_captured_before(self):
        track("first", ADA)
        track("second", ADA, delay=60)

        with muted():
            assert cancel(ADA, name="second") == 1
            deliver()

        assert [body["event"] for body in locmem.sent] == ["first"]

    def test_holds_for_no_other_thread(self):
        seen = []

        def capture():
            seen.append((is_muted(), track("viewed", ADA)))
            connections.close_all()

        with muted():
            thread = threading.Thread(target=capture)
            thread.start()
            thread.join(10)

        assert seen == [(False, OutboxEvent.objects.get())]

    def test_mutes_in_a_thread_that_has_left_what_another_one_entered(self):
        quiet = muted()
        seen = []

        def leave():
            quiet.__exit__()
            with muted():
                seen.append(is_muted())
            seen.append(is_muted())

        with quiet:
            thread = threading.Thread(target=leave)
            thread.start()
            thread.join(10)

        assert seen == [True, False]

    def test_holds_for_no_other_task_but_for_what_this_one_calls_in_a_thread(self):
        async def work():
            entered, checked = asyncio.Event(), asyncio.Event()

            async def quietly():
                with muted():
                    entered.set()
                    await checked.wait()
                    return await sync_to_async(is_muted)()

            async def loudly():
                await entered.wait()
                checked.set()
                return is_muted()

            return await asyncio.gather(quietly(), loudly())

        assert asyncio.run(work()) == [True, False]


@pytest.mark.django_db
class DecoratorTests:
    def test_mutes_a_function_each_time_it_is_called_and_changes_nothing_else(self):
        @muted()
        def tell(name, *, email):
            """Tell."""
            return track(name, email), is_muted()

        for _ in range(2):
            assert tell("viewed", email=ADA) == (None, True)
        assert not is_muted()
        assert (tell.__name__, tell.__doc__) == ("tell", "Tell.")

    def test_refuses_what_would_run_unmuted(self):
        async def coroutine(): ...

        async def async_generator():
            yield

        def generator():
            yield

        class Tests: ...

        for function in (coroutine, async_generator, generator, Tests):
            with pytest.raises(TypeError, match="decorates plain functions"):
                muted()(function)

    def test_needs_its_parentheses(self):
        with pytest.raises(TypeError, match="takes 0 positional arguments"):
            muted(print)
