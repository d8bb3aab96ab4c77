"""Read recipe files and `key=value` overrides, without knowledge of the keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError

_BOOLEAN = "tag:yaml.org,2002:bool"
_FLOAT = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """YAML with rules of version 1.2: `1e-4` is a number, `no` and `off` are strings, keys are unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|false|True|False)$"), list("tfTF"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; anything else raises `UsageError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The recipe {path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The recipe {path} is not text; give a YAML file.") from error
    value = _parse(text, f"The recipe {path}")
    if not isinstance(value, dict):
        raise UsageError(
            f"The recipe {path} holds no mapping of keys to values; see nakawari recipes list for examples."
        )
    return value


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Assign `a.b.c=value` overrides in nested mappings and lists, in place; the values are parsed as YAML."""
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            raise UsageError(f"The override '{override}' is not of the form key=value, such as optim.lr=1e-4.")
        _assign(values, keys, _parse(text, f"The override '{override}'"), override)


def _parse(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{what} is not valid YAML: {reason}.") from error


def _assign(values: Any, keys: list[str], value: Any, override: str) -> None:
    *parents, last = keys
    for key in parents:
        if isinstance(values, dict) and values.get(key) is None:
            values[key] = {}
        values = values[_place(values, key, override)]
    if isinstance(values, dict):
        values[last] = value
    else:
        values[_place(values, last, override)] = value


def _place(values: Any, key: str, override: str) -> Any:
    if isinstance(values, dict):
        return key
    if isinstance(values, list) and key.isdigit() and int(key) < len(values):
        return int(key)
    allowed = f"give a number below {len(values)}" if isinstance(values, list) else "the key holds no further keys"
    raise UsageError(f"The override '{override}' cannot be placed at '{key}': {allowed}.")
