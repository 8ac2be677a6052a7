from __future__ import annotations

import pytest

from tests import fuzz


@pytest.mark.django_db
def test_whatever_is_captured_is_refused_or_stored_as_it_was_given(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}

    report = fuzz.run(600, seed=1)

    assert report.faults == []
    assert min(report.counts["stored"], report.counts["refused"]) > 100  # neither is all that happens
