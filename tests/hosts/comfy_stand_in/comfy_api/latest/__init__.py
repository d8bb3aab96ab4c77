"""A stand-in for the part of ComfyUI's V3 node API that the node pack uses.

ComfyUI is no package of the index, so the nodes are tested against this: the same names (`io.ComfyNode`, `io.Schema`,
`io.NodeOutput`, typed inputs and outputs, `ComfyExtension`), nothing behind them. It checks that a schema and the
`execute` it belongs to fit each other, which ComfyUI finds out at run time.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Socket:
    type: str
    id: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def optional(self) -> bool:
        return bool(self.options.get("optional"))


def _kind(io_type: str) -> type:
    class Kind:
        """A type of what travels along wires."""

        @staticmethod
        def Input(id: str, **options: Any) -> _Socket:
            return _Socket(io_type, id, options)

        @staticmethod
        def Output(id: str | None = None, display_name: str = "", **options: Any) -> _Socket:
            return _Socket(io_type, id or display_name, options)

    return Kind


@dataclass
class _Schema:
    node_id: str
    display_name: str
    category: str
    description: str = ""
    inputs: list[_Socket] = field(default_factory=list)
    outputs: list[_Socket] = field(default_factory=list)
    is_output_node: bool = False


class _NodeOutput:
    def __init__(self, *args: Any) -> None:
        self.args = args


class _ComfyNode:
    @classmethod
    def define_schema(cls) -> _Schema:
        raise NotImplementedError

    @classmethod
    def run(cls, **inputs: Any) -> tuple[Any, ...]:
        """Execute as ComfyUI does: by name, every required socket connected; as many outputs as the schema says."""
        schema = cls.define_schema()
        known = {socket.id: socket for socket in schema.inputs}
        assert set(inputs) <= set(known), set(inputs) - set(known)
        assert {name for name, socket in known.items() if not socket.optional} <= set(inputs)
        assert set(inspect.signature(cls.execute).parameters) == set(known)
        made = cls.execute(**inputs)
        assert isinstance(made, _NodeOutput) and len(made.args) == len(schema.outputs)
        return made.args


class io:
    """What ComfyUI's `io` module holds."""

    ComfyNode, Schema, NodeOutput, Custom = _ComfyNode, _Schema, _NodeOutput, staticmethod(_kind)
    Image, Mask, String = _kind("IMAGE"), _kind("MASK"), _kind("STRING")
    Int, Float, Boolean = _kind("INT"), _kind("FLOAT"), _kind("BOOLEAN")


class ComfyExtension:
    """What `comfy_entrypoint` returns."""

    async def get_node_list(self) -> list[type[_ComfyNode]]:
        raise NotImplementedError
