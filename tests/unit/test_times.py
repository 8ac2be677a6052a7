from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from brevo_events.times import ago, between, clock, day, exactly, length, moment_at, rough_length

NIGHT = dt.datetime(2026, 3, 1, 23, 5, 7, tzinfo=dt.UTC)


class LengthTests:
    @pytest.mark.parametrize(
        ("seconds", "exact", "rough"),
        [
            (-5, "0.00 s", "0 s"),
            (0, "0.00 s", "0 s"),
            (0.274, "0.27 s", "0 s"),
            (1.44, "1.4 s", "1 s"),
            (9.94, "9.9 s", "10 s"),
            (9.96, "10 s", "10 s"),
            (59.4, "59 s", "59 s"),
            (59.6, "1 min", "1 min"),
            (119, "1 min 59 s", "1 min 59 s"),
            (680, "11 min 20 s", "11 min 20 s"),
            (3600, "1 h", "1 h"),
            (3600 + 59, "1 h", "1 h"),
            (7500, "2 h 5 min", "2 h 5 min"),
            (3 * 86_400 + 5 * 3600 + 59, "3 d 5 h", "3 d 5 h"),
            (400 * 86_400, "400 d", "400 d"),
        ],
    )
    def test_is_in_the_two_largest_units(self, seconds, exact, rough):
        assert length(seconds) == exact
        assert rough_length(seconds) == rough

    def test_is_that_between_two_moments(self):
        assert between(NIGHT, NIGHT + dt.timedelta(minutes=11, seconds=20)) == "11 min 20 s"


class MomentTests:
    def test_is_in_the_zone_of_the_site_by_a_clock_of_24_hours(self):
        assert (day(NIGHT), clock(NIGHT)) == ("March 2, 2026", "00:05:07")

    def test_has_the_date_unless_it_is_today(self):
        now = timezone.now()

        assert moment_at(NIGHT) == "on March 2, 2026 at 00:05:07"
        assert moment_at(now) == f"today at {clock(now)}"
        assert exactly(NIGHT) == "March 2, 2026, 00:05:07"
        assert exactly(now) == clock(now)

    def test_may_be_past_or_ahead(self):
        now = timezone.now()

        assert ago(now - dt.timedelta(minutes=5)) == "5 min ago"
        assert ago(now + dt.timedelta(minutes=5, seconds=0.4)) == "in 5 min"
