from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest

import brevo_events
from tests.snippets import MAKE_TARGETS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")]


class VersionTests:
    def test_version_has_one_source(self):
        assert PROJECT["dynamic"] == ["version"]
        assert "version" not in PROJECT
        assert version("django-brevo-events") == brevo_events.__version__

    def test_version_has_a_section_in_the_changelog(self):
        sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

        assert sections[0] == brevo_events.__version__

    def test_changelog_sorts_changes_by_kind(self):
        kinds = re.findall(r"^### (.+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

        assert kinds
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


class WorkflowTests:
    @pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
    def test_workflow_calls_only_make_targets_that_exist(self, workflow):
        called = re.findall(r"^\s*(?:- )?run: make (.+)", workflow.read_text(), re.MULTILINE)
        targets = {word for line in called for word in line.split() if "=" not in word}

        assert targets
        assert targets <= MAKE_TARGETS

    def test_every_python_that_is_promised_is_tested(self):
        promised = {
            line.rsplit(" ", 1)[1]
            for line in PROJECT["classifiers"]
            if line.startswith("Programming Language :: Python :: 3.")
        }
        tested = re.findall(r'"(3\.\d+)"', (ROOT / ".github" / "workflows" / "tests.yml").read_text())

        assert promised == set(tested)


class AddressTests:
    def test_repository_has_one_address(self):
        repository = PROJECT["urls"]["Repository"]
        ours = re.compile(r"https://github\.com/[\w-]+/django-brevo-events")
        files = [*TEXTS, *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.yml")]

        assert {found for file in files for found in ours.findall(file.read_text())} <= {repository}

    def test_texts_that_the_package_index_shows_link_to_nothing_relative(self):
        links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())

        assert links
        assert [link for link in links if not link.startswith(("https://", "#"))] == []
