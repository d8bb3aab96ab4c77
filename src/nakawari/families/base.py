"""The contract that every family keeps: five verbs and the condition they share.

Training, evaluation, quantization and the command line speak only to what stands here.
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
    """Everything a denoiser is told about a batch of clips, computed once per clip.

    Shapes: B batch, F frames, C latent channels, h x w latent size, H x W frame size after padding.

    Args:
        num_frames: F, both keys included.
        size: height and width of the frames as they came in, before padding; `decode` cuts back to it.
        latents: (B, F, C', h, w), what the denoiser sees beside the noisy latents: the keys' latents in their places.
        tokens: (B, L, D) context tokens, or None where the model has no towers.
        null_tokens: (B, L, D) the same without text and without image, for the unconditional branch.
        image_tokens: (B, L, D) without text but with the image, for guidance with two scales.
        fps: (B,) frames per second or frame stride, as the family counts it; None = the family's default.
        references: per decoder level (B, 2, C, H, W), encoder features of start and end key.
        base: (B, F, C, h, w), what the latents are relative to where a model works on residuals; None = nothing.
        guide: what the keys alone say about each frame, padded as the frames are; None = the model takes none.
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
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def map(self, function: Any) -> Self:
        """A copy with `function` applied to every tensor."""
        return self.replace(**{name: _map(value, function) for name, value in self._tensors().items()})

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As `Tensor.to`, for every floating tensor (integer tensors change device only by `device=`)."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def select(self, index: slice | Sequence[int]) -> Self:
        """Some clips of the batch."""
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
    """A family made runnable. Frames are (B, F, 3, H, W) in [-1, 1], latents (B, F, C, h, w)."""

    denoiser_name: ClassVar[str] = "unet"
    """The component that `denoiser` is."""
    default_lora: str
    """The preset that is adapted where nothing else is said."""
    condition_dropout: Mapping[str, float] = MappingProxyType({})
    """Shares of training samples that the family is trained with less of its condition: `text` without text, `image`
    without text and image, `image_only` with text alone, `guide` without motion guidance."""
    trained_fps: ClassVar[tuple[int, int] | None] = None
    """The least and most frames per second that the family is told of training clips, each clip its own; None = it is
    always told its default."""

    @property
    @abstractmethod
    def process(self) -> Process:
        """The diffusion process that the denoiser was trained with."""

    @property
    @abstractmethod
    def denoiser(self) -> torch.nn.Module:
        """The one network that is adapted, distilled and quantized."""

    def _keys(
        self, start: KeyFrames | None, end: KeyFrames | None, height: int | None = None, width: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The keys of a call, (B, 3, H, W) on the device that it runs on; see `inputs.read_pair`."""
        if start is None or end is None:
            raise UsageError("A call needs both keys, start and end, or a condition.")
        _, (first, last) = read_pair(start, end, height, width)
        return first.to(self._execution_device), last.to(self._execution_device)

    def _call_back(
        self, callback: StepCallback | None, number: int, time: Any, values: dict[str, Any], names: Sequence[str]
    ) -> Any:
        """Call `callback_on_step_end` with the values that are asked for; returns the latents to go on with."""
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
        """`_call_back` as a sampling run calls it."""
        return lambda number, time, x, x0: self._call_back(callback, number, time, {"latents": x, "x0": x0}, names)

    def _output(self, frames: Any, return_dict: bool) -> Any:
        """What a call returns."""
        return InterpolationOutput(frames=frames) if return_dict else (frames,)

    @property
    def _execution_device(self) -> torch.device:
        """Where it computes: where only some networks wait elsewhere, the denoiser's device, whichever comes first."""
        waiting = any(hasattr(part, "_hf_hook") for part in self.components.values())
        if waiting and not hasattr(self.denoiser, "_hf_hook"):
            return self.denoiser.device
        return super()._execution_device

    @abstractmethod
    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Any = None) -> Tensor:
        """Frames (B, F, 3, H, W) -> latents (B, F, C, h, w), scaled as the denoiser expects.

        With a condition that has a `base`, the latents are relative to it. With a generator (one, or one per sample)
        the posterior is sampled; without, its mean is taken. Sizes are padded to the multiple the model needs.
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
        """All that the denoiser is told, from two keys (B, 3, H, W) in [-1, 1]; computed once per clip.

        `guided=False` leaves motion guidance out where the model has it.
        """

    @abstractmethod
    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        """The same condition with text (and, unless `keep_image`, image) emptied: the other branch of guidance."""

    @abstractmethod
    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Raw denoiser output for x_t = `noisy` (B, F, C, h, w) at times `t` (B,); same shape as `noisy`."""

    def denoise_branches(self, noisy: Tensor, t: Tensor, branches: Sequence[Condition]) -> list[Tensor]:
        """`denoise` under each branch of guidance, the conditional one first, as the family samples with guidance:
        where branches see each other, they go through the network together."""
        return [self.denoise(noisy, t, branch) for branch in branches]

    def denoise_in_part(
        self, noisy: Tensor, t: Tensor, condition: Condition, depth: int, deep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`denoise` that evaluates `depth` output layers and what leads to them by the shortest way, and reads the rest
        from `deep`; all where `deep` is None.

        Returns: the answer, and the deep features (B*F, C, h', w') for a later step, see `families.cache`.
        """
        raise NakawariError(f"{type(self).__name__} has no deep features to keep.")

    @abstractmethod
    def decode(self, latents: Tensor, condition: Condition, *, chunk: int | None = None) -> Tensor:
        """Latents -> frames (B, F, 3, H, W) at `condition.size`, not clamped; gradients flow.

        `chunk` bounds how many clips or frames are decoded at once, to bound memory.
        """

    def save_pretrained(self, save_directory: str | Path, **how: Any) -> None:
        """As diffusers', with a card beside the weights."""
        super().save_pretrained(save_directory, **how)
        parts = {name: part for name, part in self.components.items() if isinstance(part, torch.nn.Module)}
        counts = {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}
        write_model_card(Path(save_directory), type(self).__name__, self.family, counts)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """As diffusers', with the components of earlier revisions under their present names."""
        found = super().load_config(*args, **kwargs)
        return (present(found[0]), *found[1:]) if isinstance(found, tuple) else present(found)

    def add_image_adapter(self) -> bool:
        """Put a linear layer, component `image_adapter`, behind an image tower whose width its projector cannot read.

        Returns: whether one was needed and made.
        """
        return False

    def sample_in_few_steps(self, steps: int) -> None:
        """From now on a call that names no settings takes `steps` steps of the consistency sampler without guidance,
        as a denoiser wants it that was distilled to few steps; the settings are saved with the pipeline.

        Raises:
            NakawariError: the family has no such sampler.
        """
        raise NakawariError(f"{type(self).__name__} has no sampler for few steps; take a ToonCrafter or a Framer.")

    def load_image_adapter(self, folder: Path) -> None:
        """Load the layer that training saved beside an adapter."""
        raise NakawariError(f"{folder} is for a model with an image tower and a projector; this one has none.")


StepCallback = Callable[[Any, int, Any, dict[str, Any]], Mapping[str, Any] | None]


def default(value: Any, fallback: Any) -> Any:
    """`value`, or what stands for it where a call leaves it open."""
    return fallback if value is None else value
