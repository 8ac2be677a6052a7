from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from brevo_events.choices import GateReason
from brevo_events.retry import (
    MAX_BACKOFF,
    MAX_WISH,
    THROTTLE,
    Answer,
    Decision,
    Outcome,
    backoff,
    brevo_error,
    decide,
    meaning,
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


def decision(status, *, attempts=0, max_attempts=12, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return decide(Answer(status, headers=headers), attempts=attempts, max_attempts=max_attempts)


def http_date(**ahead):
    return format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)


class DecideTests:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
    def test_2xx_is_sent(self, status):
        assert decision(status) == Decision(Outcome.SENT)

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 300, 301, 302, 303, 304, 307, 308, 399])
    def test_a_wrong_account_or_url_holds_everything(self, status):
        assert decision(status) == Decision(Outcome.HELD, None, GateReason.ACCOUNT)

    @pytest.mark.parametrize("status", [400, 402, 406, 409, 410, 411, 413, 415, 418, 422, 428, 431, 451, 499])
    def test_any_other_4xx_is_rejected(self, status):
        assert decision(status) == Decision(Outcome.REJECTED)

    @pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 503, 504, 507, 520, 529, 599, None])
    def test_a_passing_fault_is_tried_again(self, status):
        assert decision(status) == Decision(Outcome.RETRY)
        assert decision(status, retry_after="7") == Decision(Outcome.RETRY, 7)

    @pytest.mark.parametrize("status", [-1, 0, 1, 100, 101, 199, 600, 999, 10**9])
    def test_a_status_that_http_does_not_know_is_tried_again(self, status):
        assert decision(status).outcome == Outcome.RETRY

    @pytest.mark.parametrize("status", [408, 425, 500, 503, None, 600])
    def test_the_last_attempt_gives_up(self, status):
        assert decision(status, attempts=10).outcome == Outcome.RETRY
        assert decision(status, attempts=11, retry_after="7") == Decision(Outcome.GAVE_UP)
        assert decision(status, attempts=12).outcome == Outcome.GAVE_UP
        assert decision(status, max_attempts=1).outcome == Outcome.GAVE_UP

    @pytest.mark.parametrize("status", [204, 400, 401, 302, 429])
    def test_no_other_answer_gives_up(self, status):
        assert decision(status, attempts=10**6) == decision(status)
        assert decision(status).outcome != Outcome.GAVE_UP

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry_after": "17"}, 17),
            ({"retry_after": "0"}, 0),
            ({"x_sib_ratelimit_reset": "23"}, 23),
            ({"x_sib_ratelimit_reset": "0"}, 0),
            ({"retry_after": "17", "x_sib_ratelimit_reset": "23"}, 17),
            ({"retry_after": "soon", "x_sib_ratelimit_reset": "23"}, 23),
            ({"retry_after": "soon", "x_sib_ratelimit_reset": "later"}, THROTTLE),
            ({}, THROTTLE),
            ({"retry_after": str(10**9)}, MAX_WISH),
        ],
    )
    def test_429_holds_everything_for_as_long_as_it_says(self, headers, seconds):
        assert decision(429, **headers) == Decision(Outcome.HELD, seconds, GateReason.THROTTLED)

    def test_429_takes_a_date_too(self):
        held = decision(429, retry_after=http_date(minutes=10), x_sib_ratelimit_reset="23")

        assert held.delay == pytest.approx(600, abs=5)

    def test_a_header_of_another_answer_is_not_obeyed(self):
        assert decision(204, retry_after="7").delay is None
        assert decision(401, retry_after="7").delay is None
        assert decision(503, x_sib_ratelimit_reset="7").delay is None

    @pytest.mark.parametrize(
        ("outcome", "is_about_event"),
        [
            (Outcome.SENT, True),
            (Outcome.REJECTED, True),
            (Outcome.RETRY, False),
            (Outcome.GAVE_UP, False),
            (Outcome.HELD, False),
        ],
    )
    def test_only_a_judgement_shows_that_brevo_is_well(self, outcome, is_about_event):
        assert Decision(outcome).is_about_event is is_about_event


class RetryAfterTests:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            ("120", 120),
            (" 30 ", 30),
            ("007", 7),
            ("86400", 86400),
            ("86401", MAX_WISH),
            ("9" * 5000, MAX_WISH),
        ],
        ids=lambda value: str(value)[:10],
    )
    def test_takes_seconds_up_to_a_day(self, value, seconds):
        assert retry_after({"retry-after": value}) == seconds

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (lambda: http_date(seconds=90), 90),
            (lambda: http_date(hours=1).replace("GMT", "-0000"), 3600),
            (lambda: http_date(hours=3).replace("GMT", "+0200"), 3600),
            (lambda: http_date(hours=-1), 0),
            (lambda: http_date(days=30), MAX_WISH),
            (lambda: "Wed, 21 Oct 2015 07:28:00 GMT", 0),
            (lambda: "Fri, 31 Dec 9999 23:59:59 GMT", MAX_WISH),
        ],
    )
    def test_takes_a_date(self, value, seconds):
        assert retry_after({"retry-after": value()}) == pytest.approx(seconds, abs=60)

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
            wish = retry_after({"retry-after": "".join(letters)})

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
            (200, "has taken"),
            (204, "has taken"),
            (302, "points elsewhere"),
            (400, "refused the event: its message"),
            (401, "MA_KEY"),
            (403, "Check the key"),
            (404, "Check URL"),
            (405, "Check URL"),
            (408, "passing fault"),
            (413, "too large"),
            (418, "refused"),
            (425, "passing fault"),
            (429, "slow down"),
            (500, "passing fault"),
            (503, "passing fault"),
            (100, "HTTP does not know"),
            (0, "HTTP does not know"),
            (999, "HTTP does not know"),
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
    def test_says_refused_of_exactly_what_is_rejected(self, status):
        is_rejected = decision(status).outcome == Outcome.REJECTED

        assert is_rejected == any(word in str(meaning(status)) for word in ("refused", "too large"))
