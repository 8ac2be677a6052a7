"""A Celery application, on a broker made of files, whose one task captures an event."""

from __future__ import annotations

import os

import django
from celery import Celery

django.setup()

app = Celery("tests", broker="filesystem://")
FOLDERS = ("data_folder_in", "data_folder_out", "control_folder")
app.conf.update(
    broker_transport_options=dict.fromkeys(FOLDERS, os.environ["TEST_CELERY_FOLDER"]),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
)


@app.task
def capture(number):
    from brevo_events import track

    track("captured", f"{number}@example.com")
