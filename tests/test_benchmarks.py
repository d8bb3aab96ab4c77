"""The benchmark scripts use names that the package has."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_exists(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nakawari"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                submodule = Path(module.__file__ or "").parent / f"{name.name}.py"
                assert hasattr(module, name.name) or submodule.exists(), f"{node.module} has no {name.name}"
