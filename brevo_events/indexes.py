from __future__ import annotations

from typing import Any

from django.db import models

from brevo_events.choices import FINISHED


class FinishedIndex(models.Index):
    """
    Hold finished events only on PostgreSQL, and all of them elsewhere.

    Statistics that were taken while nothing waited make PostgreSQL believe that
    nothing ever does: by an index of all statuses it would then look for the
    turn of each contact through all that waits of everybody.
    """

    # No condition of its own: MariaDB knows none, and Django would warn of that at every migrate.
    def create_sql(self, model: type[models.Model], schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if schema_editor.connection.vendor != "postgresql":
            return super().create_sql(model, schema_editor, using, **kwargs)
        finished = models.Q(status__in=FINISHED)
        partial = models.Index(fields=self.fields, name=self.name, condition=finished)
        return partial.create_sql(model, schema_editor, using, **kwargs)
