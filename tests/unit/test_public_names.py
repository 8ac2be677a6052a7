from __future__ import annotations

import ast
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import brevo_events
from brevo_events import testing


def typed_names(module):
    """Return the names that a module imports for type checkers only."""
    tree = ast.parse(Path(module.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {alias.asname or alias.name for block in blocks for node in block.body for alias in node.names}


@pytest.mark.parametrize("module", [brevo_events, testing], ids=lambda module: module.__name__)
class NamesTests:
    def test_all_is_what_is_there(self, module):
        assert all(getattr(module, name) is not None for name in module.__all__)
        assert set(module._HOMES) <= set(module.__all__)
        assert typed_names(module) == set(module.__all__)

    def test_are_listed_once_and_in_order(self, module):
        assert len(set(module.__all__)) == len(module.__all__)
        assert module.__all__ == sorted(module.__all__)

    def test_are_the_objects_of_their_homes(self, module):
        for name, home in module._HOMES.items():
            found = import_module(f"{module.__name__}.{home}")
            assert getattr(module, name) is (found if name == home else getattr(found, name))

    def test_equal_no_submodules_name(self, module):
        submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}

        assert set(module.__all__) & submodules <= {"commerce"}

    def test_that_do_not_exist_are_attribute_errors(self, module):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            _ = module.nothing
        with pytest.raises(ImportError):
            exec(f"from {module.__name__} import nothing")

    def test_have_a_docstring_each(self, module):
        assert [name for name in module.__all__ if not getattr(module, name).__doc__] == []


class StarTests:
    def test_imports_all_and_only_the_public_names(self):
        names = {}
        exec("from brevo_events import *", names)

        assert set(names) - {"__builtins__"} == set(brevo_events.__all__)

    def test_finds_them_where_dir_lists_them(self, monkeypatch):
        monkeypatch.delitem(vars(brevo_events), "track", raising=False)

        assert set(brevo_events.__all__) <= set(dir(brevo_events))

    def test_finds_a_name_again_after_its_first_use(self):
        assert brevo_events.track is brevo_events.track
        assert "track" in vars(brevo_events)
