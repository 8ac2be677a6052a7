from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from brevo_events.answers import Answer, brevo_error, meaning
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.retry import (
    MAX_BACKOFF,
    MAX_WISH,
    THROTTLE,
    Verdict,
    backoff,
    decide,
    is_failure,
    retry_after,
    throttle,
)

GARBAGE = [
    "",
    " ",
    "soon",
    "-5",
    "1.5",
    "1e9",
    "+7",
    "inf",
    "nan",
    "٣",
    "²",
    "12,13",
    "0x10",
    "Wed, 99 Foo 2026 99:99:99 GMT",
    "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 2026 07:28:00 +999999999999",
    "Wed, 21 Oct 2026 07:28:00 +" + "9" * 30,
    "Mon",
    ",",
    "\0",
    "\ud800",
    "é" * 10_000,
]


def verdict(status, *, attempts=0, max_attempts=12, last_code=None, is_probe=False, is_counting=True, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return decide(
        Answer(status, headers=headers),
        attempts=attempts,
        max_attempts=max_attempts,
        first_backoff=0,
        last_code=last_code,
        is_probe=is_probe,
        is_counting=is_counting,
    )


SENT = Verdict(Status.SENT, is_counted=True)
REJECTED = Verdict(Status.FAILED, Reason.REJECTED, is_counted=True)
GAVE_UP = Verdict(Status.FAILED, Reason.GAVE_UP, is_counted=True)
TRIED_AGAIN = Verdict(Status.PENDING, is_counted=True, delay=0)
KEEPS_ITS_PLACE = Verdict(Status.PENDING)
ACCOUNT = Verdict(Status.PENDING, closes=GateReason.ACCOUNT)
ACCOUNT_FAULTS = [401, 402, 403, 404, 405, 300, 301, 302, 303, 304, 307, 308, 399]
TRANSIENT_FAULTS = [408, 425, 500, 501, 502, 503, 504, 507, 520, 529, 599, None]


def http_date(**ahead):
    return format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)


class DecideTests:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
    def test_2xx_is_sent(self, status):
        assert verdict(status) == verdict(status, is_probe=True) == verdict(status, is_counting=False) == SENT

    @pytest.mark.parametrize("status", ACCOUNT_FAULTS)
    def test_a_fault_of_the_account_closes_the_gate_and_is_not_counted(self, status):
        assert verdict(status) == verdict(status, attempts=11) == verdict(status, last_code=500) == ACCOUNT

    @pytest.mark.parametrize("status", ACCOUNT_FAULTS)
    @pytest.mark.parametrize("last_code", [401, 403, 302])
    def test_an_event_that_meets_an_account_fault_again_on_an_open_gate_is_itself_refused(self, status, last_code):
        assert verdict(status, last_code=last_code) == TRIED_AGAIN
        assert verdict(status, last_code=last_code, attempts=11) == GAVE_UP

    @pytest.mark.parametrize("status", ACCOUNT_FAULTS)
    def test_a_probe_that_meets_one_again_keeps_the_gate_closed(self, status):
        assert verdict(status, last_code=401, is_probe=True) == ACCOUNT._replace(delay=0)

    @pytest.mark.parametrize("status", [400, 406, 409, 410, 411, 413, 415, 418, 422, 428, 431, 451, 499])
    def test_any_other_4xx_is_rejected(self, status):
        assert verdict(status) == verdict(status, is_probe=True) == verdict(status, last_code=401) == REJECTED

    @pytest.mark.parametrize("status", TRANSIENT_FAULTS)
    def test_a_transient_fault_is_tried_again(self, status):
        assert verdict(status) == TRIED_AGAIN
        assert verdict(status, retry_after="7") == TRIED_AGAIN._replace(delay=7)

    @pytest.mark.parametrize("status", [408, 425, 500, 503, None, 599])
    def test_the_last_attempt_gives_up(self, status):
        assert verdict(status, attempts=10) == TRIED_AGAIN
        assert verdict(status, attempts=11, retry_after="7") == GAVE_UP
        assert verdict(status, attempts=12) == verdict(status, max_attempts=1) == GAVE_UP

    @pytest.mark.parametrize("status", TRANSIENT_FAULTS)
    def test_during_an_outage_nothing_is_counted_and_a_failed_probe_lets_others_try_first(self, status):
        assert verdict(status, is_counting=False, attempts=11) == KEEPS_ITS_PLACE
        assert verdict(status, is_counting=False, is_probe=True) == KEEPS_ITS_PLACE._replace(delay=0)

    @pytest.mark.parametrize("status", [204, 400, 401, 302, 429])
    def test_no_other_answer_gives_up(self, status):
        assert verdict(status, attempts=10**6) == verdict(status) != GAVE_UP

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry_after": "17"}, 17),
            ({"retry_after": "0"}, 1),
            ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
            ({"x_sib_ratelimit_reset": "23"}, 23),
            ({"x_sib_ratelimit_reset": "0"}, 1),
            ({"retry_after": "17", "x_sib_ratelimit_reset": "23"}, 17),
            ({"retry_after": "soon", "x_sib_ratelimit_reset": "23"}, 23),
            ({"retry_after": "soon", "x_sib_ratelimit_reset": "later"}, THROTTLE),
            ({}, THROTTLE),
            ({"retry_after": "7200"}, MAX_WISH),
            ({"x_sib_ratelimit_reset": "86400"}, MAX_WISH),
            ({"retry_after": "1764000000"}, THROTTLE),
            ({"retry_after": "1764000000000"}, THROTTLE),
            ({"x_sib_ratelimit_reset": "1764000000"}, THROTTLE),
            ({"retry_after": "1764000000", "x_sib_ratelimit_reset": "23"}, 23),
        ],
    )
    def test_429_holds_everything_for_as_long_as_it_says(self, headers, seconds):
        assert verdict(429, **headers) == Verdict(Status.PENDING, closes=GateReason.THROTTLED, hold=seconds)

    def test_429_takes_a_date_too(self):
        held = verdict(429, retry_after=http_date(minutes=10), x_sib_ratelimit_reset="23")

        assert held.hold == pytest.approx(600, abs=5)

    def test_a_header_of_another_answer_is_not_obeyed(self):
        assert verdict(204, retry_after="7").delay is None
        assert verdict(401, retry_after="7").delay is None
        assert verdict(503, x_sib_ratelimit_reset="7").delay == 0

    def test_only_a_judgement_shows_that_brevo_is_well(self):
        assert [each.is_about_event for each in (SENT, REJECTED)] == [True, True]
        assert not any(each.is_about_event for each in (GAVE_UP, TRIED_AGAIN, KEEPS_ITS_PLACE, ACCOUNT))

    @pytest.mark.parametrize("status", [None, *range(100, 600)])
    def test_what_a_recorded_status_says_of_brevo_is_what_was_decided(self, status):
        decided = verdict(status)

        expected = False if decided.is_about_event else True if decided.is_counted else None
        assert is_failure(status) is expected


class RetryAfterTests:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            ("120", 120),
            (" 30 ", 30),
            ("007", 7),
            ("3599", 3599),
            ("3600", 3600),
            ("3601", MAX_WISH),
            ("86400", MAX_WISH),
            ("999999999", MAX_WISH),
        ],
    )
    def test_takes_seconds_up_to_an_hour(self, value, seconds):
        assert retry_after({"retry-after": value}) == seconds == min(seconds, 3600)

    @pytest.mark.parametrize(
        "value", ["1000000000", "1764000000", "1764000000000", "9" * 5000], ids=lambda value: value[:10]
    )
    def test_a_moment_is_not_taken_for_a_span(self, value):
        assert retry_after({"retry-after": value}) is None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (lambda: http_date(seconds=90), 90),
            (lambda: http_date(minutes=10).replace("GMT", "-0000"), 600),
            (lambda: http_date(hours=2, minutes=10).replace("GMT", "+0200"), 600),
            (lambda: http_date(hours=-1), 0),
            (lambda: http_date(days=30), MAX_WISH),
            (lambda: "Wed, 21 Oct 2015 07:28:00 GMT", 0),
            (lambda: "Fri, 31 Dec 9999 23:59:59 GMT", MAX_WISH),
        ],
    )
    def test_takes_a_date(self, value, seconds):
        assert retry_after({"retry-after": value()}) == pytest.approx(seconds, abs=60)

    @pytest.mark.parametrize(
        ("date", "seconds"),
        [
            ("Wed, 21 Oct 2015 07:28:00 GMT", 90),
            ("Wed, 21 Oct 2015 09:28:00 +0200", 90),
            ("Wed, 21 Oct 2015 07:29:29 GMT", 1),
            ("Wed, 21 Oct 2015 07:29:31 GMT", 0),
            ("Wed, 21 Oct 2015 01:00:00 GMT", MAX_WISH),
        ],
    )
    def test_a_date_is_read_by_the_clock_of_the_answer_not_of_this_machine(self, date, seconds):
        headers = {"retry-after": "Wed, 21 Oct 2015 07:29:30 GMT", "date": date}

        assert retry_after(headers) == seconds

    @pytest.mark.parametrize("date", GARBAGE, ids=lambda value: ascii(value)[:20])
    def test_a_date_is_read_by_the_clock_of_this_machine_if_the_answer_has_none(self, date):
        assert retry_after({"retry-after": http_date(seconds=90), "date": date}) == pytest.approx(90, abs=5)

    @pytest.mark.parametrize("value", GARBAGE, ids=lambda value: ascii(value)[:20])
    def test_ignores_garbage(self, value):
        assert retry_after({"retry-after": value}) is None
        assert throttle({"retry-after": value, "x-sib-ratelimit-reset": value}) == THROTTLE

    def test_never_fails_on_a_date_with_some_letters_changed(self):
        chance = random.Random(7)
        for _ in range(5000):
            letters = list("Wed, 21 Oct 2026 07:28:00 GMT")
            for _ in range(chance.randint(1, 4)):
                letters[chance.randrange(len(letters))] = chance.choice("0123456789 ,:+-;()GMTé")
            garbled = "".join(letters)

            for headers in ({"retry-after": garbled}, {"retry-after": http_date(seconds=9), "date": garbled}):
                wish = retry_after(headers)
                assert wish is None or 0 <= wish <= MAX_WISH


class BackoffTests:
    @pytest.mark.parametrize(("attempts", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (4, 240), (7, 1920)])
    def test_doubles_with_a_quarter_of_jitter(self, attempts, seconds):
        waits = [backoff(attempts, 30) for _ in range(300)]

        assert 0.75 * seconds <= min(waits) < 0.8 * seconds
        assert 0.95 * seconds < max(waits) <= seconds

    @pytest.mark.parametrize("attempts", [8, 9, 100, 1024, 10**6])
    def test_is_never_over_an_hour(self, attempts):
        waits = [backoff(attempts, 30) for _ in range(100)]

        assert max(waits) <= MAX_BACKOFF == 3600
        assert 0.75 * 3600 <= min(waits) < 0.9 * 3600

    @pytest.mark.parametrize("attempts", [-1, 0, 5, 10**6])
    def test_of_zero_is_zero(self, attempts):
        assert backoff(attempts, 0) == 0


class BrevoErrorTests:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ('{"code": "out_of_range", "message": "too big"}', ("out_of_range", "too big")),
            ('{"message": "only this"}', ("", "only this")),
            ('{"code": "bare"}', ("bare", '{"code": "bare"}')),
            ('{"code": 7, "message": {"a": 1}}', ("7", "{'a': 1}")),
            ('{"code": null, "message": null}', ("", '{"code": null, "message": null}')),
            (r'{"code": "a\ud800", "message": "b\udfff"}', ("a?", "b?")),
            ("", ("", "")),
            ("<html>Bad gateway</html>", ("", "<html>Bad gateway</html>")),
            ("[1]", ("", "[1]")),
            ('"text"', ("", '"text"')),
            ("null", ("", "null")),
            ('{"code": ', ("", '{"code": ')),
            ("[" * 100_000, ("", "[" * 100_000)),
            ("1" * 5000, ("", "1" * 5000)),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_is_read_from_whatever_came(self, body, expected):
        assert brevo_error(body) == expected

    def test_an_answers_code_is_brevos_or_the_kind_of_failure(self):
        assert Answer(400, '{"code": "missing_parameter"}').code == "missing_parameter"
        assert Answer(None, "no route", error="connection").code == "connection"
        assert Answer(500, "<html>").code == ""


class MeaningTests:
    @pytest.mark.parametrize(
        ("status", "fragment"),
        [
            (200, "accepted the event"),
            (204, "accepted the event"),
            (302, "redirects elsewhere"),
            (400, "rejected the event. Correct what its message names"),
            (401, "MA_KEY"),
            (403, "Check the key"),
            (404, "Check the setting URL"),
            (405, "Check the setting URL"),
            (408, "usually temporary"),
            (413, "too large"),
            (418, "rejected"),
            (425, "usually temporary"),
            (429, "slow down"),
            (500, "usually temporary"),
            (503, "usually temporary"),
            (100, "Not a valid HTTP status"),
            (0, "Not a valid HTTP status"),
            (999, "Not a valid HTTP status"),
        ],
    )
    def test_of_a_status_says_what_to_do(self, status, fragment):
        assert fragment in str(meaning(status))

    @pytest.mark.parametrize(
        ("error", "fragment"),
        [
            ("timeout", "in time"),
            ("connection", "could not be reached"),
            ("dns", "host name"),
            ("tls", "certificates"),
            ("protocol", "not HTTP"),
            ("something new", "No answer came"),
            ("", "Not sent yet"),
        ],
    )
    def test_of_no_answer_says_why(self, error, fragment):
        assert fragment in str(meaning(None, error))

    @pytest.mark.parametrize("status", [*range(200, 600)])
    def test_says_rejected_of_exactly_what_is_rejected(self, status):
        is_rejected = verdict(status).reason == Reason.REJECTED

        assert is_rejected == any(word in str(meaning(status)) for word in ("rejected", "too large"))
