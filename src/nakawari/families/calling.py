"""Select the settings that a pipeline's call accepts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import UsageError
from .abilities import Abilities


def settings_for(
    pipeline: Abilities, wanted: Mapping[str, Any], asker: str, dispensable: Collection[str] = ("guided",)
) -> dict[str, Any]:
    """The keyword arguments for a call of `pipeline`; None leaves a setting to the pipeline.

    Args:
        wanted: settings by name.
        asker: the source of the settings, as the subject of a sentence.
        dispensable: settings that are dropped if the pipeline does not have them.

    Raises:
        UsageError: a setting that the pipeline does not have.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    unknown = [name for name in given if name not in pipeline.call_settings]
    for name in unknown:
        if name not in dispensable:
            raise UsageError(f"{asker} sets {name}, which {type(pipeline).__name__} does not have; leave it out.")
    return {name: value for name, value in given.items() if name not in unknown}
