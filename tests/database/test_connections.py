from __future__ import annotations

import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction

from brevo_events import connections as ours
from brevo_events import track
from brevo_events.connections import owned_connections, release_connection
from brevo_events.engines.thread import ThreadEngine
from brevo_events.models import OutboxEvent
from brevo_events.testing import Reply

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool_of_one():
    """Django's connection pool, with one connection for pages and delivery together."""
    if connection.vendor != "postgresql":
        pytest.skip("Django has a pool for PostgreSQL only")
    pytest.importorskip("psycopg_pool", reason="psycopg2 has no pool that Django could use")
    options = connection.settings_dict.setdefault("OPTIONS", {})
    connection.close()
    options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 5}
    yield
    connections.close_all()
    connection.close_pool()
    del options["pool"]


@pytest.fixture
def engine(fake_brevo, monkeypatch):
    monkeypatch.setattr("brevo_events.engines.background.is_testing", lambda: False)
    engine = ThreadEngine()
    yield engine
    connection.close()
    engine.finish()


def page():
    """Read as a page does; returns the seconds that it took."""
    began = time.monotonic()
    OutboxEvent.objects.count()
    connection.close()
    return time.monotonic() - began


def behind_pooler(told, real):
    """A connection whose driver was told one process ID at connecting, while the server has another."""

    @contextmanager
    def cursor():
        yield SimpleNamespace(execute=lambda sql: None, fetchone=lambda: (real,))

    driver = SimpleNamespace(info=SimpleNamespace(backend_pid=told))
    return SimpleNamespace(alias="a", vendor="postgresql", settings_dict={}, connection=driver, cursor=cursor)


class PoolTests:
    def test_has_its_connection_for_pages_while_requests_are_in_flight(self, pool_of_one, engine, fake_brevo):
        fake_brevo.always(Reply(204, delay=2))
        track("a", "a@example.com")
        connection.close()
        engine.start()
        fake_brevo.wait_for(1)

        assert max(page() for _ in range(20)) < 0.5

    def test_has_its_connection_for_pages_while_nothing_is_due(self, pool_of_one, engine):
        connection.close()
        engine.start()
        time.sleep(0.3)

        assert max(page() for _ in range(20)) < 0.5


class ReleaseTests:
    def test_closes_a_pooled_connection(self, pool_of_one):
        connection.ensure_connection()

        with owned_connections():
            release_connection()

        assert connection.connection is None

    def test_keeps_a_direct_connection(self):
        connection.ensure_connection()

        with owned_connections():
            release_connection()

        assert connection.connection is not None

    def test_keeps_the_connection_of_a_request(self, pool_of_one):
        connection.ensure_connection()

        release_connection()

        assert connection.connection is not None

    def test_keeps_a_connection_in_a_transaction(self, pool_of_one):
        with owned_connections(), transaction.atomic():
            release_connection()

            assert connection.connection is not None


class PoolerTests:
    @pytest.fixture(autouse=True)
    def _not_looked_at_yet(self, monkeypatch):
        monkeypatch.setattr(ours, "_behind_pooler", {})

    def test_is_seen_by_the_process_that_it_makes_up(self):
        assert ours.is_pooled(behind_pooler(told=1, real=2))
        assert not ours.is_pooled(SimpleNamespace(settings_dict={}, vendor="mysql"))

    def test_is_looked_for_once(self):
        ours.is_pooled(behind_pooler(told=2, real=2))

        assert not ours.is_pooled(behind_pooler(told=1, real=2))

    def test_is_not_seen_in_a_direct_connection(self):
        connection.ensure_connection()

        assert not ours.is_pooled(connection)
