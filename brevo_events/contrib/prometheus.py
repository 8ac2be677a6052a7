"""Metrics for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import Error

from brevo_events import health
from brevo_events.choices import GateReason, Status
from brevo_events.figures import Requests, ended_by_name, newest_requests

try:
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "brevo_events.contrib.prometheus needs prometheus-client: pip install 'django-brevo-events[prometheus]'"
    ) from error

logger = logging.getLogger(__name__)

HOUR = 3600.0  # seconds
STATES = (health.SENDING, health.BEHIND, health.PAUSED, health.ON_HOLD, health.STALLED, health.MISCONFIGURED)
PAUSED = "paused"


class BrevoEventsCollector(Collector):
    """
    A collector that reads the database at each scrape, with a few queries whose cost doesn't grow with the outbox.

    So it reports for all processes, whichever is scraped. All metrics are
    gauges, because events can be resent and are pruned.
    """

    def __init__(self) -> None:
        self._is_up = True

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [_up(False)]  # registering it must not query the database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            summary = health.summarise()
            ended, requests = ended_by_name(HOUR), newest_requests()
        except Error as error:
            # The process has other metrics, which must not be lost because of this error.
            if self._is_up:
                logger.error("The outbox could not be read: %s", type(error).__name__)  # noqa: TRY400 - it says enough
            self._is_up = False
            yield _up(False)
            return
        self._is_up = True
        yield _up(True)
        yield from _of_delivery(summary)
        yield _gauge("ended_last_hour", "Events that ended in the last hour.", ("status", "event"), ended.items())
        yield from _of_requests(requests)


def _of_delivery(summary: health.Summary) -> Iterator[GaugeMetricFamily]:
    pulse = summary.pulse
    waiting = [((Status.PENDING,), summary.pending), ((Status.SENDING,), summary.sending)]
    yield _gauge("waiting", "Events that are still to be sent, counted up to 10,000.", ("status",), waiting)
    yield _plain("failed", "Failed events in the outbox, counted up to 10,000.", summary.failed)
    yield _plain("oldest_due_seconds", "How long the oldest due event has been due.", pulse.oldest_due_seconds)
    if summary.last_sent_at:
        moment = summary.last_sent_at.timestamp()
        yield _plain("last_sent_timestamp_seconds", "When Brevo last accepted an event.", moment)
    state = health.state(pulse).name
    yield _gauge("state", "1 for what delivery is doing.", ("state",), [((name,), name == state) for name in STATES])
    holds = [((PAUSED,), pulse.gate.is_paused), *(((reason,), pulse.gate.reason == reason) for reason in GateReason)]
    yield _gauge("on_hold", "1 for what puts delivery on hold.", ("reason",), holds)


def _of_requests(requests: Requests) -> Iterator[GaugeMetricFamily]:
    codes = [((str(code or error or "no answer"),), count) for code, error, count in requests.codes]
    yield _gauge("answers", "Brevo's answers to the newest requests, at most 1,000, by code.", ("code",), codes)
    times = [("0.5", requests.median), ("0.95", requests.percentile_95)]
    seconds = [((quantile,), found / 1000) for quantile, found in times if found is not None]
    yield _gauge("answer_seconds", "How long Brevo took for these answers.", ("quantile",), seconds)


def _up(is_up: bool) -> GaugeMetricFamily:
    return _plain("up", "Whether the outbox could be read.", is_up)


def _plain(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"brevo_events_{name}", text, value=float(value))


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[Any, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"brevo_events_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric([str(each) for each in values], float(value))
    return family
