from __future__ import annotations

import datetime as dt
import io
import warnings

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import ProtectedError  # noqa: F401 - imported to prove that nothing protects
from django.utils import timezone

from brevo_events import Event, track
from brevo_events import models as public
from brevo_events.choices import UNFINISHED
from brevo_events.columns import UtcNow, in_seconds
from brevo_events.models import Gate, GateReason, OutboxEvent, Reason, SendAttempt, Status
