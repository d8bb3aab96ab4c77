"""The pipeline of mini: a small residual model over a motion guide.

The guide warps both keys to the time of each frame. Latents are those of the frames minus those of the guide's blend,
and the decoded latents are added to the blend's pixels: a denoiser with zero output draws the blend.
Without motion guidance the same weights run on a guide without motion, whose blend is the cross-fade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, get_args

import torch
from diffusers.video_processor import VideoProcessor
from torch import Tensor

from ...diffusion import VelocityProcess
from ...guide import Guide, still
from ...guide.layout import pad_frames
from ...guide.motion import MotionGuide
from ...precision import fast_products
from ..base import Condition, InterpolationOutput, InterpolationPipeline, StepCallback, default
from ..inputs import KeyFrames
from ..tooncrafter.sampling import Generators, OutputType, draw_noise, sample
from ..tooncrafter.scheduler import Sampler, Spacing, ToonCrafterScheduler
from .autoencoder import PATCH, LinearAutoencoder
from .large import at_working_size, drawn_large, frames_of, points_at_working_size, working_size
from .redraw import Keys, Look
from .unet import MiniUNet

_KEY_DEVIATION = math.exp(-15)
"""Standard deviation of the noise on the keys' latents: invisible, but it is drawn before the sampling noise, so that a
seed gives the same frames as in earlier revisions."""


_WHOLE = "keys"
"""Name of the condition's tensor of both keys (B, 2, 3, H, W) at their own size, if the working size is smaller."""


class MiniPipeline(InterpolationPipeline):
    """The mini family. It has no text, frame-rate condition or guidance: `prompt`, `negative_prompt`, `fps` and
    `guidance_scale` have no effect.

    Args:
        unet, vae, scheduler, guide: its components.
        max_frames: the longest clip, keys included, that is drawn at once.
        default_steps: default steps of a call.
    """

    family = "mini"
    lora_patterns: ClassVar[dict[str, str]] = {
        "cross-attention": r".*attn2\.to_(q|k|v|out\.0)$",
        "linear-and-convolution": r"(?!guide_in|time_embed|out\.).*",
    }
    default_lora: ClassVar[str] = "linear-and-convolution"
    condition_dropout: Mapping[str, float] = MappingProxyType({"guide": 0.1})
    tracks = "matches"
    model_cpu_offload_seq = "unet->vae"
    # The guide has no weights, which accelerate's hooks need.
    _exclude_from_cpu_offload: ClassVar[list[str]] = ["guide"]

    def __init__(
        self,
        unet: MiniUNet,
        vae: LinearAutoencoder,
        scheduler: ToonCrafterScheduler,
        guide: MotionGuide,
        max_frames: int = 16,
        default_steps: int = 1,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, vae=vae, scheduler=scheduler, guide=guide)
        self.register_to_config(max_frames=max_frames, default_steps=default_steps)
        self._video_processor = VideoProcessor()

    @property
    def process(self) -> VelocityProcess:
        return self.scheduler.process

    @property
    def denoiser(self) -> MiniUNet:
        return self.unet

    @property
    def draws_any_time(self) -> bool:
        """See the base class: the guide can be computed for any time."""
        return True

    def reads_noise(self, steps: int | None = None) -> bool:
        """See the base class: at the last training timestep the noise is multiplied by zero in the network's input, and
        a single step uses only that timestep."""
        alone = (steps or self.config.default_steps) == 1 and self.scheduler.config.spacing == "trailing"
        return not alone

    @property
    def multiple(self) -> int:
        """Frame sizes are padded to a multiple of this."""
        return PATCH * 2 ** (len(self.unet.config.channel_mult) - 1)

    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Generators = None) -> Tensor:
        """See the base class; the autoencoder is deterministic, so a generator has no effect. Latents of large frames
        are those of their working size."""
        frames = at_working_size(frames)
        latents = self.vae.encode(pad_frames(frames, *self._lacking(frames)).to(self.vae.dtype))
        if condition is None:
            return latents
        assert condition.guide is not None
        return latents - (self.vae.encode(condition.guide.blend()) if condition.base is None else condition.base)

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
        generator: Generators = None,
        guide: Guide | None = None,
        times: Tensor | None = None,
    ) -> Condition:
        """See the base class.

        Args:
            control: per clip tracks (F, P, 2) in pixels of the keys, None for none.
            guide: the motion guide of these keys, if it was computed already.
            times: (F,), the time of each frame from 0 to 1; default: even.
        """
        if num_frames < 2:
            raise ValueError(f"a clip has at least its two keys, not {num_frames} frames")
        if control is not None and not guided:
            raise ValueError("tracks need the motion guide")
        if times is not None and len(times) != num_frames:
            raise ValueError(f"{len(times)} times do not fit {num_frames} frames")
        if any(own is not None and len(own) != num_frames for own in control or ()):
            raise ValueError(f"tracks are (F, P, 2) with F = {num_frames}, the frames of the clip")
        # The guide reads the original keys: rounding would change its flow.
        whole = torch.stack([start, end], dim=1)
        keys = at_working_size(whole)
        size, large = (start.shape[-2], start.shape[-1]), keys.shape != whole.shape
        keys = pad_frames(keys, *self._lacking(keys))
        times = torch.linspace(0, 1, num_frames) if times is None else times
        if guide is None or not guided:
            led = {}
            if control is not None:
                led["led"] = [None if own is None else points_at_working_size(own, size) for own in control]
            guide = (self.guide if guided else still)(keys[:, 0], keys[:, 1], times, **led)
        guide = guide.pad(*self._lacking(guide.start)).map(lambda tensor: tensor.to(self.vae.dtype))
        encoded = self.vae.encode(keys.to(self.vae.dtype))
        if generator is not None:
            encoded = encoded + _KEY_DEVIATION * draw_noise(encoded, generator).to(encoded)
        between = encoded.new_zeros(len(encoded), num_frames - 2, *encoded.shape[2:])
        return Condition(
            num_frames=num_frames,
            size=size,
            latents=torch.cat([encoded[:, :1], between, encoded[:, 1:]], dim=1),
            guide=guide,
            extra={_WHOLE: whole.float()} if large else {},
        )

    def _lacking(self, frames: Tensor) -> tuple[int, int]:
        """Padding of frames (..., H, W): rows below and columns to the right."""
        return -frames.shape[-2] % self.multiple, -frames.shape[-1] % self.multiple

    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        """See the base class: there is nothing to remove."""
        return condition

    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition, looks: list[list[Look]] | None = None) -> Tensor:
        """See the base class; `looks` as in `MiniUNet.forward`."""
        seen = self.process.network_input(noisy, t)
        together = torch.cat([seen, condition.latents.to(noisy.dtype)], dim=2)
        return self.unet(together, t, guide=condition.guide, looks=looks)

    def decode(
        self,
        latents: Tensor,
        condition: Condition,
        *,
        chunk: int | None = None,
        looks: Sequence[list[Look]] = (),
    ) -> Tensor:
        """See the base class; `chunk` has no effect, as the autoencoder is one small layer.

        Frames larger than the working size are drawn from the keys at their own size, with the `looks` of the last
        evaluation, if they are known.
        """
        guide = condition.guide
        assert guide is not None
        change, whole = self.vae.decode(latents.to(self.vae.dtype)), condition.extra.get(_WHOLE)
        if whole is None:
            height, width = condition.size
            return (guide.blend() + change)[..., :height, :width]
        change, frames = change.float(), frames_of(looks)
        for place, own in enumerate(frames):
            clip, frame = divmod(place, condition.num_frames - 2)
            change[clip, frame + 1] -= self._of_looks(guide[clip : clip + 1], frame + 1, own)
        height, width = working_size(condition.size)
        cut = [[Look(*(part[..., :height, :width] for part in look)) for look in own] for own in frames]
        guide = guide.map_pixels(lambda pixels: pixels[..., :height, :width])
        return drawn_large(whole, guide, change[..., :height, :width], cut)

    def _of_looks(self, guide: Guide, frame: int, looks: Sequence[Look]) -> Tensor:
        """The part of one frame's residual, (3, h, w), that its looks account for."""
        keys = Keys(
            *(key[:, frame].float() for key in (guide.start, guide.end)), guide.time[:, frame, None, None, None]
        )
        change = keys.drawn(looks) - torch.lerp(keys.first, keys.last, keys.time)
        return self.vae.decode(self.vae.encode(change[None].to(self.vae.dtype)))[0, 0].float()

    def sample_in_few_steps(self, steps: int) -> None:
        """See the contract."""
        self.scheduler.register_to_config(sampler="consistency", spacing="trailing")
        self.register_to_config(default_steps=steps)

    @torch.no_grad()
    def __call__(
        self,
        start: KeyFrames | None = None,
        end: KeyFrames | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        eta: float | None = None,
        spacing: Spacing | None = None,
        sampler: Sampler | None = None,
        temperature: float = 1.0,
        prompt: str | Sequence[str] = "",
        negative_prompt: str | Sequence[str] = "",
        height: int | None = None,
        width: int | None = None,
        fps: int | Sequence[int] | None = None,
        guided: bool = True,
        generator: Generators = None,
        latents: Tensor | None = None,
        times: Tensor | None = None,
        tracks: Any = None,
        condition: Condition | None = None,
        output_type: OutputType = "pil",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents", "x0"),
        return_dict: bool = True,
    ) -> InterpolationOutput | tuple[Any]:
        """Draw the frames between two keys.

        Args:
            start, end: the keys, one or a batch, any size, see `inputs.read_keys`; not needed with `condition`.
            num_frames: length of the clip, both keys included; default: the model's longest.
            num_inference_steps: sampling steps.
            eta: 0 deterministic, the default; 1 ancestral.
            spacing, sampler, temperature: see `ToonCrafterScheduler`.
            prompt, negative_prompt, fps, guidance_scale: see the class.
            height, width: resize the keys to this first (pictures and arrays only); None = no resize.
            guided: use motion guidance.
            generator: one per sample (results then do not depend on the batch), or one for all.
            latents: starting noise (B, F, C, h, w); default: random.
            times: (F,), increasing from 0 to 1, the time of each frame; default: even.
            tracks: see `control` of `condition`.
            condition: the result of `condition`, if it exists already.
            output_type: type of `frames`.
            callback_on_step_end: called as `callback(pipeline, step, time, values)`; a returned "latents"
                replaces them.
            callback_on_step_end_tensor_inputs: which of "latents" and "x0" are in `values`.
            return_dict: False gives a tuple.
        """
        if output_type not in get_args(OutputType):
            raise ValueError(f"output_type must be one of {', '.join(get_args(OutputType))}, not {output_type!r}")
        if condition is None:
            first, last = self._keys(start, end, height, width)
            frames = num_frames or self.config.max_frames
            asked = {"guided": guided, "generator": generator, "times": times, "control": tracks}
            condition = self.condition(first, last, num_frames=frames, **asked)
        self.scheduler.set_timesteps(num_inference_steps or self.config.default_steps, spacing=spacing, sampler=sampler)
        x = draw_noise(condition.latents, generator) if latents is None else latents
        looks: list[list[Look]] = []
        x = sample(
            self.scheduler,
            lambda x, time, _: self._answer(x, time, condition, looks),
            x.float(),
            eta=default(eta, 0.0),
            temperature=temperature,
            generator=generator,
            progress=self.progress_bar,
            on_step=self._on_step(callback_on_step_end, callback_on_step_end_tensor_inputs),
        )
        if output_type == "latent":
            self.maybe_free_model_hooks()
            return self._output(x, return_dict)
        frames = self.decode(x, condition, looks=looks).float()
        self.maybe_free_model_hooks()
        if output_type == "pt":  # in place: large frames dominate the memory
            return self._output(frames.mul_(0.5).add_(0.5).clamp_(0, 1), return_dict)
        pictures = self._video_processor.postprocess_video(frames.transpose(1, 2), output_type)
        return self._output(pictures, return_dict)

    def _answer(self, x: Tensor, time: int, condition: Condition, looks: list[list[Look]]) -> Tensor:
        """One evaluation; replaces `looks` by its own if `decode` needs them."""
        times = torch.full((len(x),), time, device=x.device)
        looks.clear()
        kept = looks if _WHOLE in condition.extra and condition.num_frames > 2 else None
        with fast_products(self.unet, x.device):
            return self.denoise(x.to(self.unet.dtype), times, condition, kept).float()
