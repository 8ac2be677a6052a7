"""The example shop for ASGI servers, which shut it down cleanly."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from brevo_events.contrib.asgi import finish_on_shutdown

application = finish_on_shutdown(get_asgi_application())
