from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from brevo_events import track
from brevo_events.choices import GateReason
from brevo_events.clock import in_seconds
from brevo_events.management.liveness import LivenessFile
from brevo_events.models import Gate, OutboxEvent, Status
from brevo_events.testing import Reply
from brevo_events.transports import locmem
from brevo_events.worker import Worker
from tests import worker as process
from tests.commands import run
from tests.conftest import KEY
from tests.deliveries import fail_at_first

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


def due():
    return list(OutboxEvent.objects.filter(status=Status.PENDING).order_by("pk"))


class SendTests:
    def test_sends_what_is_due_and_counts_it(self):
        track("viewed", ADA)
        track("viewed", BOB)

        assert run("send_brevo_events") == "Sent: 2\n"
        assert [body["email"] for body in locmem.sent] == [ADA, BOB]

    def test_says_and_exits_as_usual_when_nothing_was_due(self):
        assert run("send_brevo_events") == "Nothing was due.\n"

    def test_is_silent_where_that_is_asked(self):
        track("viewed", ADA)

        assert run("send_brevo_events", verbosity=0) == ""
        assert len(locmem.sent) == 1

    def test_refuses_a_wrong_poll_interval(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "POLL_SECONDS": 0}

        with pytest.raises(CommandError, match=r"'POLL_SECONDS'. is 0: it must be from 0\.01 to 60"):
            run("send_brevo_events", "--loop")

    def test_sends_no_more_than_the_limit(self):
        for email in (ADA, BOB, EVE):
            track("viewed", email)

        assert run("send_brevo_events", "--limit", "2") == "Sent: 2\n"
        assert [event.email for event in due()] == [EVE]

    def test_exits_as_usual_when_brevo_refused_an_event(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "invalid_parameter"))
        track("viewed", ADA)
        track("viewed", BOB)

        assert run("send_brevo_events") == "Failed: 1, Sent: 1\n"

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (Reply.error(401, "unauthorized"), "Brevo does not accept the key (401)"),
            (Reply.too_many(retry_after=100), "Too many requests (429)"),
        ],
    )
    def test_exits_with_1_if_a_fault_has_closed_the_gate(self, fake_brevo, capsys, reply, told):
        fake_brevo.always(reply)
        track("viewed", ADA)
        err = io.StringIO()

        with pytest.raises(SystemExit) as stopped:
            call_command("send_brevo_events", stdout=io.StringIO(), stderr=err, no_color=True)

        assert stopped.value.code == 1
        assert f"Delivery is on hold: {told}. The next try is at 2" in err.getvalue()
        assert len(due()) == 1

    def test_exits_with_1_as_long_as_the_gate_is_closed(self):
        Gate.load().close(GateReason.OUTAGE, 503)

        with pytest.raises(SystemExit) as stopped:
            run("send_brevo_events")

        assert stopped.value.code == 1

    def test_exits_as_usual_once_a_probe_has_opened_the_gate(self):
        track("viewed", ADA)
        Gate.load().close(GateReason.OUTAGE, 503)
        Gate.objects.update(closed_until=in_seconds(-1))

        assert run("send_brevo_events") == "Sent: 1\n"

    def test_exits_as_usual_if_an_operator_has_paused(self):
        track("viewed", ADA)
        Gate.load().pause()

        assert "Nothing was due." in run("send_brevo_events")
        assert len(due()) == 1

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"TRANSPORT": "http", "URL": "http://127.0.0.1:1/", "MA_KEY": ""}, "'MA_KEY'] is not set"),
            ({"TRANSPORT": "htpp"}, "'TRANSPORT'] is 'htpp'"),
            ({"TRANSPORT": "http", "MA_KEY": KEY}, "Under test the http transport calls loopback only"),
        ],
    )
    def test_tells_what_is_missing_and_claims_nothing(self, settings, setting, message):
        track("viewed", ADA)
        settings.BREVO_EVENTS = {"ENGINE": "worker", **setting}

        with pytest.raises(CommandError) as raised:
            run("send_brevo_events")

        assert message in str(raised.value)
        assert len(due()) == 1

    @pytest.mark.parametrize("concurrency", ["0", "257", "9223372036854775807", "many"])
    def test_refuses_a_concurrency_that_the_setting_would_refuse(self, concurrency):
        with pytest.raises(CommandError, match=r"--concurrency: .* (must be from 1 to 256|is not a whole number)"):
            run("send_brevo_events", f"--concurrency={concurrency}")

    @pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "", "9" * 30])
    def test_refuses_a_limit_that_is_no_number(self, limit):
        with pytest.raises(CommandError, match=r"--limit: .* is not a whole number of at least 1"):
            run("send_brevo_events", f"--limit={limit}")


class HangingTests:
    @pytest.mark.parametrize("loop", [[], ["--loop"]])
    def test_ends_with_an_error_to_be_started_anew(self, settings, loop):
        track("viewed", ADA)
        options = {"TRANSPORT": "locmem", "TIMEOUT": 0.1, "CONSENT": "tests.worker.hang"}
        started = process.start(connection.settings_dict["NAME"], options, "send_brevo_events", *loop)
        try:
            assert started.wait(20) == 3
        finally:
            started.kill()

    def test_does_not_end_a_program_that_calls_the_command(self, monkeypatch):
        monkeypatch.setattr("brevo_events.management.commands.send_brevo_events.ended_if_hung", None)

        assert run("send_brevo_events") == "Nothing was due.\n"


class LivenessTests:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "alive"

    def loop(self, file, runtime=1):
        return run("send_brevo_events", "--loop", f"--max-runtime={runtime}", f"--liveness-file={file}")

    @pytest.fixture
    def touched(self, file, monkeypatch):
        """A list that says of each round whether the file, which was made old before, was new after it."""
        found, real = [], LivenessFile.touch

        def touch(liveness):
            os.utime(file, (0, 0))
            real(liveness)
            found.append(file.stat().st_mtime > 0)

        monkeypatch.setattr(LivenessFile, "touch", touch)
        return found

    @pytest.mark.parametrize("is_loop", [True, False])
    def test_is_a_file_that_is_touched_while_it_sends(self, file, touched, is_loop):
        track("viewed", ADA)

        run("send_brevo_events", *(["--loop", "--max-runtime=1"] if is_loop else []), f"--liveness-file={file}")

        assert touched
        assert all(touched)
        assert due() == []

    @pytest.mark.parametrize(
        "hold", [lambda: None, lambda: Gate.load().pause(), lambda: Gate.load().close(GateReason.ACCOUNT, 401)]
    )
    def test_is_touched_in_every_round_also_while_idle_paused_or_on_hold(self, file, touched, monkeypatch, hold):
        rounds, real = [], Worker._step
        monkeypatch.setattr(Worker, "_step", lambda worker: rounds.append(1) or real(worker))
        hold()

        with suppress(SystemExit):
            self.loop(file)

        assert len(rounds) > 2
        assert touched == [True] * len(rounds)

    def test_is_touched_while_the_database_is_away(self, file, touched, monkeypatch):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.05)
        fail_at_first(monkeypatch, "claim", 3)

        self.loop(file)

        assert len(touched) > 3

    @pytest.mark.parametrize("name", ["missing/alive", "."], ids=["no folder", "a folder"])
    def test_that_cannot_be_written_is_an_error_at_the_start(self, file, name):
        track("viewed", ADA)

        with pytest.raises(CommandError, match=r"The liveness file can't be written: .*Errno"):
            self.loop(file.parent / name)

        assert len(due()) == 1

    def test_that_cannot_be_touched_later_stops_no_delivery(self, file, monkeypatch, caplog):
        touch = Path.touch
        calls = []

        def fail_after_the_first(path):
            calls.append(path)
            if len(calls) > 1:
                raise OSError(28, "No space left on device", str(path))
            touch(path)

        monkeypatch.setattr(Path, "touch", fail_after_the_first)
        track("viewed", ADA)

        assert self.loop(file) == "Sent: 1\n"
        assert len(calls) > 3
        assert caplog.text.count("The liveness file can't be touched: [Errno 28] No space left on device") == 1

    def test_that_was_deleted_is_made_anew(self, file):
        liveness = LivenessFile(str(file))
        liveness.create()
        file.unlink()

        liveness.touch()

        assert file.exists()
