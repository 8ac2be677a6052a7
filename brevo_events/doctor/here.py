"""Checks that need no call: settings, tables, key, engine, gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from django.core import checks
from django.db import Error as DatabaseError
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from brevo_events import health
from brevo_events.conf import settings
from brevo_events.connections import migrate_command
from brevo_events.doctor.findings import Check, Finding
from brevo_events.exceptions import InvalidSetting
from brevo_events.health import Pulse
from brevo_events.heartbeats import is_alive, is_lost, processes
from brevo_events.models import Heartbeat, OutboxEvent
from brevo_events.times import ago

# The tags that select the system checks; the key has its own check here.
SETTINGS_TAG, KEY_TAG = "brevo_events", "brevo_events_key"

SETTINGS = Check("settings", gettext_lazy("Settings"))
MIGRATIONS = Check("migrations", gettext_lazy("Migrations"))
KEY = Check("key", gettext_lazy("ma-key"))
ENGINE = Check("engine", gettext_lazy("Engine"))
GATE = Check("gate", gettext_lazy("Delivery"))


def settings_and_checks() -> Finding:
    """Return what the system checks of this app say, or which setting keeps events from being sent."""
    found = [problem for problem in checks.run_checks(tags=[SETTINGS_TAG]) if not problem.is_silenced()]
    errors = [problem for problem in found if problem.level >= checks.ERROR]
    if errors:
        return SETTINGS.wrong(errors[0].msg, errors[0].hint or "")
    if not settings.ENABLED:
        return SETTINGS.wrong(_("BREVO_EVENTS['ENABLED'] is False: nothing is captured."), _("Leave ENABLED out."))
    if settings.TRANSPORT in ("console", "locmem"):
        detail = _("BREVO_EVENTS['TRANSPORT'] is %r: nothing is sent to Brevo.") % settings.TRANSPORT
        return SETTINGS.wrong(detail, _("Leave TRANSPORT out."))
    detail = _("Transport %(transport)s, engine %(engine)s.") % {
        "transport": settings.TRANSPORT,
        "engine": settings.ENGINE,
    }
    if not found:
        return SETTINGS.good(detail)
    warnings = ngettext(
        "%d warning: manage.py check --tag brevo_events shows it.",
        "%d warnings: manage.py check --tag brevo_events shows them.",
        len(found),
    )
    return SETTINGS.good(f"{detail} {warnings % len(found)}")


def migrations() -> Finding:
    """Return whether the outbox has its tables."""
    using = router.db_for_write(OutboxEvent)
    try:
        executor = MigrationExecutor(connections[using])
        targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == OutboxEvent._meta.app_label]
        missing = executor.migration_plan(targets)
    except DatabaseError as error:
        detail = _("The database %(alias)r cannot be read (%(error)s).")
        return MIGRATIONS.wrong(
            detail % {"alias": using, "error": type(error).__name__},
            _("Check DATABASES, and that the server runs."),
        )
    if missing:
        return MIGRATIONS.wrong(
            _("The database %r lacks tables of the outbox.") % using, _("Run %s.") % migrate_command(using)
        )
    return MIGRATIONS.good(_("The outbox is in the database %r.") % using)


def key() -> Finding:
    """Return whether the ma-key could be valid; a callable is called for it."""
    try:
        found = settings.ma_key()
    except InvalidSetting as error:
        return KEY.wrong(error, _("Copy the key again. %s") % health.WHERE_KEY_IS)
    if not found:
        return KEY.wrong(_("BREVO_EVENTS['MA_KEY'] is not set."), _("Set the ma-key. %s") % health.WHERE_KEY_IS)
    if found.is_of_api_v3:
        detail = _("BREVO_EVENTS['MA_KEY'] is a key of Brevo's API v3.")
        return KEY.wrong(detail, _("Set the ma-key. %s") % health.WHERE_KEY_IS)
    return KEY.good(_("It is set, and has only characters that a header can carry."))


def delivery(*, has_tables: bool) -> Iterator[Finding]:
    """Yield whether events are sent as they become due, and whether anything holds them up."""
    pulse, reported = None, []
    if has_tables:
        with suppress(DatabaseError):
            pulse, reported = health.take_pulse(), processes()
    if pulse is None:
        for check in (ENGINE, GATE):
            yield check.unseen(_("The outbox cannot be read."))
        return
    yield _engine(pulse, reported)
    yield _gate(pulse)


def _engine(pulse: Pulse, reported: Sequence[Heartbeat]) -> Finding:
    living = sum(is_alive(process) for process in reported)
    text = ngettext(
        "%d process that sends has reported within the last minute.",
        "%d processes that send have reported within the last minute.",
        living,
    )
    if not pulse.gate.is_open:
        if living:
            return ENGINE.good(text % living)
        return ENGINE.unseen(_("No process has reported, which may be because delivery is on hold or paused."))
    if trouble := health.stalled(pulse) or health.behind(pulse):
        return ENGINE.wrong(trouble.title, f"{trouble.advice} {' '.join(trouble.facts)}".strip())
    if living:
        return ENGINE.good(" ".join([text % living, _("No event is overdue.")]))
    if pulse.is_delivering:
        return ENGINE.good(_("Requests were made within the last two minutes, and no event is overdue."))
    if health.sends_here():
        return ENGINE.good(_("The site itself sends what it captures, and no event is overdue."))
    if health.engine() == "worker" and (died := next(filter(is_lost, reported), None)):
        detail = _("The worker %(pid)d on %(host)s last reported %(ago)s, and did not end cleanly.")
        told = {"pid": died.pid, "host": died.host, "ago": ago(died.seen_at)}
        return ENGINE.wrong(detail % told, _("Start send_brevo_events --loop again."))
    detail = _("No event is overdue, but none was sent within the last two minutes either.")
    return ENGINE.unseen(detail, _("Make sure that send_brevo_events --loop runs, or the workers of your ENGINE."))


def _gate(pulse: Pulse) -> Finding:
    if pulse.gate.is_paused:
        advice = _("Resume it: on the overview in the admin, or by manage.py resume_brevo_delivery.")
        return GATE.wrong(_("Delivery is paused: nothing is sent."), advice)
    if trouble := health.on_hold(pulse.gate):
        return GATE.wrong(trouble.title, trouble.advice)
    return GATE.good(_("Nothing holds events back."))
