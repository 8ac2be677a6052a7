from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_started
from django.utils.translation import gettext_lazy as _


class BrevoEventsConfig(AppConfig):
    """The app: loads the project's ``brevo_events`` modules and registers the checks when Django starts."""

    name = "brevo_events"
    verbose_name = _("Brevo events")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import ``brevo_events.py`` from every installed app, as Django does with ``admin.py``."""
        from brevo_events import checks, engines, registration

        checks.register()
        request_started.connect(engines.start, dispatch_uid="brevo_events.engines")
        engines.load()
        registration.autodiscover()
