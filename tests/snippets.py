"""The fenced blocks of the README and the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("**/*.md")])
MAKE_TARGETS = set(" ".join(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)).split())
REFERENCE = sorted((DOCS / "reference").glob("*.md"))

_FENCE = re.compile(
    r"(?:^<!-- test: (?P<mark>[^>]*?) -->\n)?^(?P<indent> *)```(?P<language>[^\s`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w/]+\.py)(, continued)?\n")


@dataclass(frozen=True)
class Snippet:
    """
    One fenced block. A comment before it may say how it is tested: ``<!-- test: compile -->``.

    ``file`` is the one that its first line names, as in ``# shop/models.py``.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def file(self):
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def is_continued(self):
        found = _FILE.match(self.text)
        return bool(found and found[2])

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page, *languages):
    """Return the blocks of a page, of these languages only if any are given."""
    content = page.read_text()
    found = []
    for match in _FENCE.finditer(content):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["text"].split("\n")]
        number = content.count("\n", 0, match.start("language")) + 1
        found.append(Snippet(page, number, match["language"], "\n".join(lines), match["mark"] or ""))
    return [each for each in found if not languages or each.language in languages]
