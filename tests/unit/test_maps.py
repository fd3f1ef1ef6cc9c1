"""Each folder's `__init__.py` is its map: a table of modules names all of them, and no others."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAPS = {
    path.parent.relative_to(ROOT).as_posix(): text
    for room in ("api", "deploy", "engine", "projections", "schemas", "tests")
    for path in sorted((ROOT / room).rglob("__init__.py"))
    if "| module |" in (text := ast.get_docstring(ast.parse(path.read_text())) or "")
}


def modules_in(folder: Path) -> set[str]:
    """Modules and packages, but for tests, which nobody looks up by a map."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__", "conftest"}
    return {name for name in packages | modules if not name.startswith("test_")}


@pytest.mark.parametrize("folder", MAPS)
def test_a_map_names_every_module(folder: str) -> None:
    rows = re.findall(r"^\|.*\|$", MAPS[folder], re.MULTILINE)
    named = set(re.findall(r"`([a-z_0-9]+)/?`", "\n".join(rows)))
    assert modules_in(ROOT / folder) - named == set()


@pytest.mark.parametrize("folder", MAPS)
def test_a_map_names_nothing_that_is_gone(folder: str) -> None:
    listed = re.findall(r"^\|([^|]*)\|", MAPS[folder], re.MULTILINE)
    named = set(re.findall(r"`([a-z_0-9]+)/?`", "\n".join(listed)))
    assert {name for name in named if not list((ROOT / folder).glob(f"{name}*"))} == set()
