"""The import rules of docs/architecture.md, checked against the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nakawari

SOURCE = Path(nakawari.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str, source: str, is_package: bool = False) -> set[str]:
    """Modules of ours that a module imports, early or late; not those imported for types alone."""
    package = name if is_package else name.rpartition(".")[0]
    return {target for node in _running(ast.parse(source)) for target in _targets(node, package)}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def _targets(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "nakawari")
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        if module.split(".")[0] == "nakawari":
            for alias in node.names:
                inside = f"{module}.{alias.name}"
                yield inside if inside in MODULES else module


IMPORTS = {
    name: imported(name, path.read_text("utf-8"), path.name == "__init__.py") - {name} for name, path in MODULES.items()
}


def package(module: str) -> str:
    """The first part below the package; empty for the top package itself, whose version any module may read."""
    return [*module.split("."), ""][1]


def layers() -> dict[str, int]:
    """Package -> its row in the page's table, from the bottom layer up."""
    table = PAGE.read_text("utf-8").partition("| packages |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    return {name: layer for layer, row in enumerate(rows) for name in re.findall(r"`(\w+)(?:/|\.py)`", row)}


def test_every_package_is_in_the_table() -> None:
    assert set(layers()) == {package(name) for name in MODULES} - {""}


def test_no_package_imports_from_its_own_layer_or_above() -> None:
    layer = layers()
    wrong = [
        f"{name} imports {target}"
        for name, targets in IMPORTS.items()
        for target in targets
        if package(name)
        and package(target)
        and package(name) != package(target)
        and layer[package(target)] >= layer[package(name)]
    ]
    assert wrong == []


def test_no_import_cycles_not_even_for_types() -> None:
    """The `__init__` of a package may re-export its own modules."""
    known = {
        name: imported(name, path.read_text("utf-8").replace("if TYPE_CHECKING:", "if True:")) - {name}
        for name, path in MODULES.items()
        if path.name != "__init__.py"
    }
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error


def test_imported_modules_of_a_source() -> None:
    source = """
from typing import TYPE_CHECKING
import nakawari.files
from ..guide import layout
from .base import Condition
if TYPE_CHECKING:
    from ..variants import Variant
def late():
    from ..errors import NakawariError
"""
    found = imported("nakawari.families.calling", source)
    wanted = {"nakawari.files", "nakawari.guide.layout", "nakawari.families.base", "nakawari.errors"}
    assert found == wanted
