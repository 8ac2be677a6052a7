"""Settings of a project whose events are delivered by a task queue, chosen by TEST_QUEUE."""

from __future__ import annotations

import json
import os

from kombu import Queue

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

given = json.loads(os.environ["TEST_QUEUE"])

DATABASES["default"]["NAME"] = given["database"]
BREVO_EVENTS = given["brevo_events"]
INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

CELERY_BROKER_URL = given["broker"]
# RabbitMQ drops the queue of a test that has not been used for a while.
CELERY_TASK_QUEUES = [Queue(given["name"], queue_arguments={"x-expires": 120_000})]
CELERY_TASK_DEFAULT_QUEUE = given["name"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE = {"brevo-events": {"task": "brevo_events.deliver", "schedule": 2.0}}
