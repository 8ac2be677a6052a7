"""The URLs of Brevo's calls."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from brevo_events.choices import Call

TRACK_EVENT_URL = "https://in-automate.brevo.com/api/v2/trackEvent"
API_URL = "https://api.brevo.com/v3"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def url_of(call: str, track_event_url: str) -> str:
    """Return the URL of a call: that of ``trackEvent``, or the one next to it."""
    if call == Call.TRACK_EVENT:
        return track_event_url
    parts = urlsplit(track_event_url)
    folder = parts.path.rpartition("/")[0]
    return urlunsplit(parts._replace(path=f"{folder}/{call}"))


def api_url_of(track_event_url: str) -> str:
    """Return the URL of API v3: at Brevo, or on this machine if events are sent there, as to a fake Brevo."""
    parts = urlsplit(track_event_url)
    return f"{parts.scheme}://{parts.netloc}/v3" if is_loopback(track_event_url) else API_URL


def is_loopback(url: str) -> bool:
    """Return whether a URL points to this machine."""
    return urlsplit(url).hostname in LOOPBACK_HOSTS


def is_usual(track_event_url: str) -> bool:
    """Return whether a URL ends as Brevo's does, so that the one next to it is known."""
    return urlsplit(track_event_url).path.endswith(f"/{Call.TRACK_EVENT}")
