"""Model and sampling options, shared by all commands that draw in-betweens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..resources.ways import Way
    from .memory_options import Memory

_Option = partial(typer.Option, rich_help_panel="Model")


class Device(StrEnum):
    """Devices; auto takes the GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Family(StrEnum):
    """The families of models."""

    mini = "mini"
    tooncrafter = "tooncrafter"
    framer = "framer"


class Cache(StrEnum):
    """The names of `families.cache.LEVELS`, repeated because that module imports torch."""

    none = "none"
    low = "low"
    medium = "medium"
    high = "high"


class Palette(StrEnum):
    """`interpolation.palette.PALETTES`."""

    auto = "auto"
    keep = "keep"
    free = "free"


class OnCut(StrEnum):
    """`interpolation.cuts.ON_CUT`."""

    draw = "draw"
    hold = "hold"
    fade = "fade"


@dataclass(frozen=True)
class Drawing:
    """The parsed options.

    Args:
        model: the variant with its adapters; `variant` adds the precision of `Memory`.
        family: the required family, None for any.
        sampling: family-specific arguments of the pipeline's call, None if not given.
        words: the fields of `interpolation.Settings` that apply to every model.
        compiled: whether the networks of a step are compiled.
    """

    model: str
    family: Family | None
    device: Device
    cache: Cache
    sampling: Mapping[str, float | None]
    words: Mapping[str, Any]
    compiled: bool = False

    @property
    def steps(self) -> int | None:
        """Sampling steps, None for the model's own."""
        return self.words["steps"]

    @property
    def guidance(self) -> float | None:
        """Guidance scale, None for the model's own."""
        return self.words["guidance"]

    def variant(self, memory: Memory) -> str:
        """The model in the requested precision."""
        if memory.precision is None:
            return self.model
        from ..variants import with_precision

        return with_precision(self.model, memory.precision)

    def given(self) -> dict[str, bool]:
        """Option -> whether it was given, for the options that only some families have."""
        return {f"--{name.replace('_', '-')}": value is not None for name, value in self.sampling.items()}

    def cached(self) -> dict[str, str]:
        """The cache argument of a pipeline's call, empty without a cache."""
        return {} if self.cache is Cache.none else {"cache": self.cache.value}

    def options(self, model: str) -> dict[str, Any]:
        """All arguments of a pipeline's call; `UsageError` for a stride with a Framer."""
        from ..errors import UsageError

        own = {("fps" if name == "stride" else name): v for name, v in self.sampling.items() if v is not None}
        if self.sampling["stride"] is not None:
            from ..resources.jobs import is_framer

            if is_framer(model):
                raise UsageError("A framer model has no --stride; give --fps instead.")
        return {**own, **self.cached()}

    def place(self) -> str:
        """cpu or cuda; `UsageError` if there is no GPU."""
        import torch

        from ..errors import UsageError

        if self.device is Device.cuda and not torch.cuda.is_available():
            raise UsageError("--device cuda needs a CUDA GPU that PyTorch can see; use --device cpu.")
        return "cuda" if self.device is not Device.cpu and torch.cuda.is_available() else "cpu"

    def load(self, model: str, way: Way | None = None) -> Any:
        """The pipeline of a variant on its device, with the chosen memory settings; `UsageError` if it is not of the
        required family, there is no GPU, or an offloaded model should be compiled."""
        from ..errors import UsageError
        from ..variants import load

        place = self.place()
        if self.compiled and way is not None and way.offload != "none":
            raise UsageError(
                f"--compile needs the whole model on the GPU, but the plan is --offload {way.offload}; leave one out."
            )
        if way is None:
            pipeline = load(model, place).pipeline
        else:
            from ..resources.applying import apply

            pipeline = load(model, place, place=False).pipeline
            apply(pipeline, place, way.offload, together=way.together)
        if self.family is not None and pipeline.family != self.family.value:
            message = f"{model} is of the family {pipeline.family}, not {self.family.value}; give another --model."
            raise UsageError(message)
        if self.compiled:
            from ..resources.applying import compile_steps

            compile_steps(pipeline)
        return pipeline


def drawing(
    *,
    model: Annotated[
        str | None,
        _Option(help="Model: mini, or a folder; +ADAPTER@SCALE and :PRECISION may follow.  [default: mini]"),
    ] = None,
    family: Annotated[
        Family | None, _Option(help="Required family; give --model too if no model of the family ships.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        _Option(metavar="FOLDER[@SCALE]", help="An adapter on the model; may be repeated, adapters add up."),
    ] = None,
    fast: Annotated[
        bool, _Option("--fast", help="Use the model's own few-step adapter, or its own smaller student.")
    ] = False,
    steps: Annotated[int | None, _Option(min=1, max=1000, help="Sampling steps; default: the model's.")] = None,
    guidance: Annotated[float | None, _Option(min=0, max=100, help="Guidance scale; default: the model's.")] = None,
    eta: Annotated[float | None, _Option(min=0, max=1, help="ToonCrafter: noise added at each step, 0 to 1.")] = None,
    guidance_rescale: Annotated[
        float | None, _Option(min=0, max=1, help="ToonCrafter: guidance rescale, 0 to 1.")
    ] = None,
    stride: Annotated[int | None, _Option(min=1, max=60, help="ToonCrafter: frame-stride condition, 5 to 30.")] = None,
    cache: Annotated[
        Cache, _Option(help="Compute slowly changing features at some steps only: faster, with a small difference.")
    ] = Cache.none,
    seed: Annotated[int, _Option(min=0, help="Random seed of the noise.")] = 0,
    prompt: Annotated[str, _Option(help="Text prompt, for models that read text.")] = "",
    parts: Annotated[
        bool, _Option("--parts/--no-parts", help="Draw flat-colour drawings by their parts, where these are clear.")
    ] = True,
    palette: Annotated[
        Palette,
        _Option(help="keep: only colours of the keys; free: any; auto: keep if the keys have few colours."),
    ] = Palette.auto,
    on_cut: Annotated[
        OnCut, _Option(help="Between keys of different scenes: draw in-betweens, hold the nearer key, or fade.")
    ] = OnCut.draw,
    device: Annotated[Device, _Option(help="Device of the model.")] = Device.auto,
) -> Drawing:
    """The options, parsed; `UsageError` for invalid values."""
    from ..errors import UsageError

    if guidance is not None and guidance != guidance:
        raise UsageError(f"--guidance must be a number, not {guidance}.")
    name = model or _shipped(family)
    if adapter:
        from ..variants import with_adapters

        name = with_adapters(name, adapter)
    if fast:
        from ..variants import faster

        name = faster(name)
    sampling = {"eta": eta, "guidance_rescale": guidance_rescale, "stride": stride}
    words = {"steps": steps, "guidance": guidance, "seed": seed, "prompt": prompt, "parts": parts}
    words |= {"palette": palette.value, "on_cut": on_cut.value}
    return Drawing(name, family, device, cache, sampling, words)


def _shipped(family: Family | None) -> str:
    """The shipped model of a family; `UsageError` if there is none."""
    if family is Family.tooncrafter:
        from ..errors import UsageError

        raise UsageError(
            "No model of the family tooncrafter is shipped; give --model with the folder of a converted one."
        )
    return "framer-tiny" if family is Family.framer else "mini"
