from __future__ import annotations

from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Outcome(TextChoices):
    """How a check ended; the value is for programs."""

    GOOD = "good", _("Good")
    WRONG = "wrong", _("Wrong")
    UNSEEN = "unseen", _("Not seen")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``check`` names it for programs, ``advice`` says what to do if it isn't good."""

    check: str
    title: str | Promise
    outcome: Outcome
    detail: str
    advice: str = ""
    link: str = ""  # Brevo's documentation

    @property
    def is_wrong(self) -> bool:
        """Whether this keeps mails from being sent."""
        return self.outcome == Outcome.WRONG


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to check, and its possible results."""

    name: str
    title: str | Promise

    def good(self, detail: object, advice: object = "") -> Finding:
        """Return that all is well."""
        return Finding(self.name, self.title, Outcome.GOOD, str(detail), str(advice))

    def wrong(self, detail: object, advice: object, link: str = "") -> Finding:
        """Return what is wrong, and what to do."""
        return Finding(self.name, self.title, Outcome.WRONG, str(detail), str(advice), link)

    def unseen(self, detail: object, advice: object = "", link: str = "") -> Finding:
        """Return why it can't be checked from here, and where to look."""
        return Finding(self.name, self.title, Outcome.UNSEEN, str(detail), str(advice), link)
