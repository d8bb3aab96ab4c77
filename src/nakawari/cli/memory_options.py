"""Memory options of the commands that draw in-betweens: how a model is fitted into the memory of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..variants import LARGE

if TYPE_CHECKING:
    from ..resources.need import Offload
    from ..resources.ways import Way

_Option = partial(typer.Option, rich_help_panel="Memory")


@dataclass(frozen=True)
class Memory:
    """The parsed options; None leaves a setting to the plan.

    Args:
        budget: bytes.
        precision, offload, decode_chunk: as on the command line.
        size: height and width to draw at.
    """

    budget: int | None
    precision: str | None
    offload: Offload | None
    decode_chunk: int | None
    size: tuple[int, int] | None

    def given(self) -> dict[str, Any]:
        """Option -> its value, for the options that plan one job of keys; the precision applies everywhere."""
        return {
            "--memory": self.budget,
            "--offload": self.offload,
            "--decode-chunk": self.decode_chunk,
            "--size": self.size,
        }

    def way(
        self,
        model: str,
        device: str,
        size: tuple[int, int],
        counts: Sequence[int],
        steps: int | None,
        guidance: Any,
        **more: Any,
    ) -> Way | None:
        """The memory settings for drawing gaps of frames of (height, width) `size`; None if no plan is needed.

        Args:
            more: `clips`, `tracks` and `cache` of `resources.need.Size`, `cache` by its name.

        Raises:
            NakawariError: nothing fits.
        """
        if not any(counts):
            return None
        from ..errors import UsageError
        from ..memory import free
        from ..variants import weights_bytes

        asked = self.budget is not None or self.offload is not None
        if not (asked or weights_bytes(model) > LARGE):
            return None
        if device == "cpu" and self.offload not in (None, "none"):
            raise UsageError("--offload moves networks from a GPU to CPU memory and needs a GPU; leave it out here.")
        from ..families.cache import cache_level
        from ..resources.jobs import job_of
        from ..resources.ways import choose

        height, width = self.size or size
        longest, steps = job_of(model, f"{width}x{height}", None, steps, guidance)
        frames = min(longest.frames, max(counts) + 2)
        wanted, steps = job_of(model, f"{width}x{height}", frames, steps, guidance)
        wanted = replace(wanted, **more | {"cache": cache_level(more.get("cache"))})
        offloads = None if self.offload is None else (self.offload,)
        return choose(model, wanted, steps, device, self.budget or free(device), offloads)

    def options(self, model: str, way: Way | None) -> Mapping[str, Any]:
        """Arguments of a pipeline's call. Raises `UsageError` if the family has no such argument."""
        from ..errors import UsageError

        chunk = self.decode_chunk or (None if way is None else way.decode_chunk)
        if chunk is None:
            return {}
        from ..resources.jobs import is_framer

        if not is_framer(model):
            raise UsageError(f"The decoder of {model} decodes all frames of a clip at once; leave --decode-chunk out.")
        return {"decode_chunk_size": chunk}


def memory(
    *,
    memory: Annotated[
        str | None, _Option(metavar="AMOUNT", help="Memory to fit into, such as 8GB; default: what is free.")
    ] = None,
    precision: Annotated[
        str | None, _Option(help="fp32, fp16, bf16, int8 and others; default: as saved, or what fits.")
    ] = None,
    offload: Annotated[
        str | None, _Option(help="On a GPU: what is offloaded to CPU memory: none, towers, model or sequential.")
    ] = None,
    decode_chunk: Annotated[
        int | None, _Option(min=1, help="Frames decoded at once; changes Framer's frames slightly.")
    ] = None,
    size: Annotated[
        str | None, _Option(metavar="WIDTHxHEIGHT", help="Draw at this size and scale back to the size of the keys.")
    ] = None,
) -> Memory:
    """The options, parsed; `UsageError` for invalid values."""
    from ..errors import UsageError

    sides = budget = None
    if size is not None:
        from ..resources.jobs import parse_size

        sides = parse_size(size)
    if memory is not None:
        from ..resources.ways import parse_memory

        budget = parse_memory(memory)
    if offload not in (None, "none", "towers", "model", "sequential"):
        raise UsageError(f"{offload!r} is not an offload; --offload takes none, towers, model and sequential.")
    return Memory(budget, precision, offload, decode_chunk, sides)  # type: ignore[arg-type]


def show_way(way: Way) -> None:
    """Print the memory settings, the need and the estimated time of a clip on stderr."""
    from ..memory import words
    from ..resources.ways import seconds_of

    needs = f"needs {words(way.need)}; a clip takes roughly {duration(seconds_of(way))}"
    typer.echo(f"nakawari: {describe(way)[0]}; {needs}", err=True)


def duration(seconds: float) -> str:
    """A duration in minutes, or in seconds if it is short."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def describe(way: Way) -> list[str]:
    """The chosen settings as phrases."""
    from ..memory import words

    waits = {
        "none": "everything stays on the device",
        "towers": "text and image encoders are offloaded to CPU memory after the condition",
        "model": "every network is offloaded to CPU memory until it is needed",
        "sequential": "every layer is offloaded to CPU memory until it is needed: slow",
    }
    chosen = [f"model {way.model}", waits[way.offload]]
    chosen.append("guidance in one batch" if way.together else "guidance one branch at a time")
    if way.decode_chunk is not None:
        chosen.append(f"{way.decode_chunk} frames decoded at once")
    weights = ", ".join(f"{name} {words(size)}" for name, size in way.parts.items() if size > 1e6)
    step = way.made["step together" if way.together else "step"]
    return [
        f"chosen: {'; '.join(chosen)}",
        f"weights: {weights or 'less than 1 MB'}",
        f"in addition: {words(way.made['condition'])} for the condition, {words(step)} for a step, "
        f"{words(way.made['decode'])} for decoding",
    ]
