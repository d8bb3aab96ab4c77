"""The interface of every family: five methods and the condition that they share.

Training, evaluation, quantization and the command line use only this interface.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from ..diffusion import Process
from ..errors import NakawariError, UsageError
from ..guide import Guide
from .abilities import Abilities
from .adapting import AdapterCalls
from .cards import write_model_card
from .former_names import present
from .inputs import KeyFrames, read_pair


@dataclass(frozen=True)
class Condition:
    """All inputs of a denoiser for a batch of clips except noisy latents and timestep, computed once per clip.

    Shapes: B batch, F frames, C latent channels, h x w latent size, H x W frame size after padding.

    Args:
        num_frames: F, both keys included.
        size: height and width of the input frames, before padding; `decode` crops to it.
        latents: (B, F, C', h, w), concatenated to the noisy latents: the keys' latents at their frames.
        tokens: (B, L, D) context tokens, or None for a model without encoders.
        null_tokens: (B, L, D) the same without text and without image, for the unconditional branch.
        image_tokens: (B, L, D) without text but with the image, for guidance with two scales.
        fps: (B,) frames per second or frame stride, as the family counts it; None = the family's default.
        references: per decoder level (B, 2, C, H, W), encoder features of start and end key.
        base: (B, F, C, h, w), subtracted from the latents by a model that works on residuals; None = nothing, or
            what the guide draws.
        guide: the motion guide of each frame, padded like the frames; None = none.
        control: family-specific control maps (B, F, ...), such as track heatmaps; None = none.
        extra: family-specific tensors with the batch first.
    """

    num_frames: int
    size: tuple[int, int]
    latents: Tensor
    tokens: Tensor | None = None
    null_tokens: Tensor | None = None
    image_tokens: Tensor | None = None
    fps: Tensor | None = None
    references: tuple[Tensor, ...] = ()
    base: Tensor | None = None
    guide: Guide | None = None
    control: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Number of clips."""
        return self.latents.shape[0]

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def map(self, function: Any) -> Self:
        """A copy with `function` applied to every tensor."""
        return self.replace(**{name: _map(value, function) for name, value in self._tensors().items()})

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As `Tensor.to`, for every floating tensor (integer tensors change device only by `device=`)."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def select(self, index: slice | Sequence[int]) -> Self:
        """A selection of the clips."""
        return self.map(lambda tensor: tensor[index])

    def _tensors(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("num_frames", "size")}

    @classmethod
    def cat(cls, conditions: Sequence[Self]) -> Self:
        """Several conditions with the same frames and size as one batch; of clips without control among others with it,
        an empty one, which the family gives no weight."""
        first = conditions[0]
        if any((other.num_frames, other.size) != (first.num_frames, first.size) for other in conditions):
            raise ValueError("only conditions with the same number of frames and the same size can be joined")
        parts = [condition._tensors() for condition in conditions]
        controls = [condition.control for condition in conditions if condition.control is not None]
        if 0 < len(controls) < len(conditions):
            for part, condition in zip(parts, conditions, strict=True):
                if condition.control is None:
                    part["control"] = controls[0].new_zeros(condition.batch, *controls[0].shape[1:])
        return first.replace(**{name: _cat([part[name] for part in parts]) for name in parts[0]})


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(function(tensor) for tensor in value)
    if isinstance(value, Guide):
        return value.map(function)
    if isinstance(value, Mapping):
        return {name: function(tensor) for name, tensor in value.items()}
    return value


def _cat(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, tuple):
        return tuple(torch.cat(tensors) for tensors in zip(*values, strict=True))
    if isinstance(first, Guide):
        return Guide.cat(values)
    if isinstance(first, Mapping):
        return {name: torch.cat([value[name] for value in values]) for name in first}
    return first


@dataclass
class InterpolationOutput(BaseOutput):
    """`frames`: (B, F, 3, H, W) in [0, 1] for "pt", (B, F, H, W, 3) for "np", lists of images for "pil", or latents."""

    frames: Any


class InterpolationPipeline(Abilities, AdapterCalls, DiffusionPipeline):
    """The pipeline of a family. Frames are (B, F, 3, H, W) in [-1, 1], latents (B, F, C, h, w)."""

    denoiser_name: ClassVar[str] = "unet"
    """Name of the denoiser component."""
    default_lora: str
    """Default preset of adapted layers."""
    condition_dropout: Mapping[str, float] = MappingProxyType({})
    """Condition dropout rates of the family's training: `text` without text, `image`
    without text and image, `image_only` with only text, `guide` without motion guidance."""
    trained_fps: ClassVar[tuple[int, int] | None] = None
    """Range of the frame-rate condition in training, in frames per second of each clip; None = always the
    default."""

    @property
    @abstractmethod
    def process(self) -> Process:
        """The diffusion process that the denoiser was trained with."""

    @property
    @abstractmethod
    def denoiser(self) -> torch.nn.Module:
        """The network that is adapted, distilled and quantized."""

    def _keys(
        self, start: KeyFrames | None, end: KeyFrames | None, height: int | None = None, width: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The keys of a call, (B, 3, H, W) on the execution device; see `inputs.read_pair`."""
        if start is None or end is None:
            raise UsageError("A call needs both keys, start and end, or a condition.")
        _, (first, last) = read_pair(start, end, height, width)
        return first.to(self._execution_device), last.to(self._execution_device)

    def _call_back(
        self, callback: StepCallback | None, number: int, time: Any, values: dict[str, Any], names: Sequence[str]
    ) -> Any:
        """Call `callback_on_step_end` with the requested values; returns the latents for the next step."""
        if callback is None:
            return values["latents"]
        if unknown := [name for name in names if name not in values]:
            raise UsageError(
                f"callback_on_step_end_tensor_inputs names {unknown[0]!r}; a {self.family} pipeline has "
                f"{', '.join(values)}."
            )
        answer = callback(self, number, time, {name: values[name] for name in names})
        return (answer or {}).get("latents", values["latents"])

    def _on_step(self, callback: StepCallback | None, names: Sequence[str]) -> Callable[..., Tensor]:
        """`_call_back` in the form of the sampler's callback."""
        return lambda number, time, x, x0: self._call_back(callback, number, time, {"latents": x, "x0": x0}, names)

    def _output(self, frames: Any, return_dict: bool) -> Any:
        """The return value of a call."""
        return InterpolationOutput(frames=frames) if return_dict else (frames,)

    @property
    def _execution_device(self) -> torch.device:
        """The execution device: that of the denoiser if only some networks are offloaded."""
        waiting = any(hasattr(part, "_hf_hook") for part in self.components.values())
        if waiting and not hasattr(self.denoiser, "_hf_hook"):
            return self.denoiser.device
        return super()._execution_device

    @abstractmethod
    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Any = None) -> Tensor:
        """Frames (B, F, 3, H, W) -> latents (B, F, C, h, w), scaled as the denoiser expects.

        With a condition that has a `base`, the latents are relative to it. With a generator (one, or one per sample)
        the posterior is sampled; otherwise its mean is used. Sizes are padded to the multiple that the model needs.
        """

    @abstractmethod
    def condition(
        self,
        start: Tensor,
        end: Tensor,
        *,
        num_frames: int,
        prompt: str | Sequence[str] = "",
        fps: int | Sequence[int] | None = None,
        control: Any = None,
        guided: bool = True,
        generator: Any = None,
    ) -> Condition:
        """The condition of two keys (B, 3, H, W) in [-1, 1]; computed once per clip.

        `guided=False` disables motion guidance.
        """

    @abstractmethod
    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        """The condition without text (and, unless `keep_image`, without image): the unconditional branch of
        guidance."""

    @abstractmethod
    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Raw denoiser output for x_t = `noisy` (B, F, C, h, w) at times `t` (B,); same shape as `noisy`."""

    def denoise_branches(self, noisy: Tensor, t: Tensor, branches: Sequence[Condition]) -> list[Tensor]:
        """`denoise` for each branch of guidance, the conditional one first; if the branches interact in the family's
        network, they are evaluated in one batch."""
        return [self.denoise(noisy, t, branch) for branch in branches]

    def denoise_in_part(
        self, noisy: Tensor, t: Tensor, condition: Condition, depth: int, deep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`denoise` that evaluates only `depth` output layers and the shortest path to them, and reads the other
        features from `deep`; the whole network if `deep` is None.

        Returns: the output, and the deep features (B*F, C, h', w') for a later step, see `families.cache`.
        """
        raise NakawariError(f"{type(self).__name__} does not support --cache; leave it out.")

    @abstractmethod
    def decode(self, latents: Tensor, condition: Condition, *, chunk: int | None = None) -> Tensor:
        """Latents -> frames (B, F, 3, H, W) at `condition.size`, not clamped; gradients flow.

        `chunk` limits the number of clips or frames decoded at once, to limit memory.
        """

    def save_pretrained(self, save_directory: str | Path, **how: Any) -> None:
        """As in diffusers, with a model card beside the weights."""
        super().save_pretrained(save_directory, **how)
        parts = {name: part for name, part in self.components.items() if isinstance(part, torch.nn.Module)}
        counts = {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}
        write_model_card(Path(save_directory), type(self).__name__, self.family, counts)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """As in diffusers, with components of earlier revisions under their current names."""
        found = super().load_config(*args, **kwargs)
        return (present(found[0]), *found[1:]) if isinstance(found, tuple) else present(found)

    def add_image_adapter(self) -> bool:
        """Add a linear layer, component `image_adapter`, if the width of the image encoder differs from the projector's
        input.

        Returns: whether one was added.
        """
        return False

    def sample_in_few_steps(self, steps: int) -> None:
        """Make `steps` steps of the consistency sampler without guidance the default of a call, for a denoiser
        distilled to few steps; the settings are saved with the pipeline.

        Raises:
            NakawariError: the family has no such sampler.
        """
        raise NakawariError(f"{type(self).__name__} has no sampler for few steps; use a ToonCrafter or a Framer.")

    def load_image_adapter(self, folder: Path) -> None:
        """Load the layer that training saved beside an adapter."""
        raise NakawariError(f"{folder} is for a model with an image encoder and a projector; this one has none.")


StepCallback = Callable[[Any, int, Any, dict[str, Any]], Mapping[str, Any] | None]


def default(value: Any, fallback: Any) -> Any:
    """`value`, or `fallback` if it is None."""
    return fallback if value is None else value
