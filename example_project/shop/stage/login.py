"""A link in the terminal that logs the developer in to the admin: valid once, on this machine, while the shop runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from ipaddress import ip_address
from threading import Lock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.urls import reverse
from django.utils.crypto import constant_time_compare

FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_VIA")

# Only in the memory of `manage.py shop`: no other process has a token, so no other process logs anyone in.
_lock = Lock()
_token = ""
_say: Callable[[str], object] = str


def offer(say: Callable[[str], object]) -> None:
    """Create and show the path of a link; as soon as it has been used, create the next one."""
    global _token, _say
    _token, _say = secrets.token_urlsafe(24), say
    say(reverse("shop:stage:log-in", args=[_token]))


def spend(token: str) -> bool:
    """Return whether this is the token of the link, and use it up."""
    with _lock:
        is_right = bool(_token) and constant_time_compare(token, _token)
        if is_right:
            offer(_say)
    return is_right


def is_local(request: HttpRequest) -> bool:
    """Return whether the request comes from a browser on this machine, not through a proxy."""
    host, _port = split_domain_port(request.get_host())
    is_direct = host in settings.LOOPBACK_HOSTS and not any(name in request.META for name in FORWARDED)
    return is_direct and ip_address(request.META["REMOTE_ADDR"]).is_loopback


def administrator() -> AbstractUser:
    """Return the user ``admin``, who has no password unless someone has set one."""
    admin, is_new = get_user_model().objects.get_or_create(username="admin")
    if is_new:
        admin.set_unusable_password()
    admin.is_active = admin.is_staff = admin.is_superuser = True
    admin.save()
    return admin
