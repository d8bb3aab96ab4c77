"""Groups of options: declared in one place, added to commands, shown under their own heading."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand

Command = Callable[..., None]


def with_options(name: str, words: Callable[..., Any]) -> Callable[[Command], Command]:
    """Add the keyword parameters of `words` to a command, which gets the result of `words` as argument `name`."""

    def add(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        more = inspect.signature(words, eval_str=True).parameters

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            gathered = words(**{key: values.pop(key) for key in more})
            command(**values, **{name: gathered})

        kept = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own.parameters.values()]
        joined = [parameter for parameter in kept if parameter.name != name] + list(more.values())
        wrapped.__signature__ = own.replace(parameters=joined)  # type: ignore[attr-defined]
        return wrapped

    return add


class GroupedCommand(TyperCommand):
    """A command whose help shows options with a `rich_help_panel` under that heading, after the others."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """See the parent, which has only one heading."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or plain, []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
