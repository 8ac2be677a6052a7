from __future__ import annotations

import subprocess
import sys

import pytest

from tests.snippets import ROOT
from tests.sources import sources


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the sdist of a copy of the tree, so that the tree itself stays clean."""
    copy = tmp_path_factory.mktemp("tree") / "copy"
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--outdir", copy / "dist", copy], check=True, capture_output=True)
    return copy / "dist"
