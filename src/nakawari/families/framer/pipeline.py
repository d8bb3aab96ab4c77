"""The Framer pipeline: from two keys and point tracks to a clip.

Sources: Wang et al. 2024 (Framer), Blattmann et al. 2023 (Stable Video Diffusion), Karras et al. 2022 (EDM).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from torch import Tensor
from torch.nn.functional import pad
from transformers import CLIPVisionModelWithProjection

from ...diffusion import EDMProcess
from ...errors import NakawariWarning, UsageError
from ..base import Condition, InterpolationPipeline, StepCallback
from ..cache import CacheLevel, cache_level
from ..clip_images import preprocess_clip_images
from ..inputs import KeyFrames, check_call, check_generators, picture_generators, read_pair
from . import autoencoder as _autoencoder  # noqa: F401 (diffusers finds the classes of a saved folder among imported modules)
from .blocks import set_norm_groups
from .control import Control, control_maps, resolve_tracks
from .controlnet import ControlNetSVD
from .names import DEFAULT_STEPS, SCHEDULERS, SchedulerName
from .sampling import FramerPipelineOutput, GuidedDenoiser, guidance_ramp
from .schedulers import LCMSVDScheduler, make_scheduler, noise_levels
from .tracks import Tracks
from .unet import LORA_PATTERNS, FramerUNet, FramerUNetOutput

Generators = torch.Generator | Sequence[torch.Generator] | None

DEFAULT_FPS = 7
DEFAULT_MOTION_BUCKET = 127
DEFAULT_NOISE_AUG = 0.02


def _unwrapped(model: Any) -> Any:
    """The model itself, unwrapped from distributed training."""
    return getattr(model, "module", model)


class FramerPipeline(InterpolationPipeline):
    """The pipeline of Framer. It reads no text, so a prompt has no effect.

    Args:
        vae, image_encoder: the autoencoder and CLIP image encoder of Stable Video Diffusion.
        unet: the denoiser.
        scheduler: a sampler of `make_scheduler`.
        controlnet: reads the tracks; None = a pipeline without point control.
        few_step: whether the denoiser is consistency distilled, which the LCM sampler needs.
        max_frames: the longest clip drawn at once; None = the denoiser's own number of frames.
        trained_size: height and width of the training frames; None = unknown.
        default_steps, default_guidance: defaults of a call; guidance None = the ramp.
        norm_groups: only for models of earlier revisions, whose components do not store it: the groups of the
            group norms of UNet, ControlNet and autoencoder. None leaves the components unchanged.
    """

    family = "framer"
    lora_patterns: Mapping[str, str] = LORA_PATTERNS
    default_lora: str = "attention+feed-forward"
    condition_dropout: Mapping[str, float] = MappingProxyType({"image": 0.1})
    tracks = "control"
    schedulers = SCHEDULERS
    # The ControlNet runs at every step beside the UNet; in the offload sequence the two would evict each other.
    model_cpu_offload_seq = "image_encoder->unet->vae"
    _optional_components = ["controlnet"]  # noqa: RUF012 (diffusers compares it with lists)
    _callback_tensor_inputs = ["latents", "tracks"]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKLTemporalDecoder,
        image_encoder: CLIPVisionModelWithProjection,
        unet: FramerUNet,
        scheduler: SchedulerMixin,
        controlnet: ControlNetSVD | None = None,
        few_step: bool = False,
        max_frames: int | None = None,
        default_steps: int = 30,
        default_guidance: float | None = None,
        norm_groups: int | None = None,
        trained_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, image_encoder=image_encoder, unet=unet, scheduler=scheduler, controlnet=controlnet
        )
        self.register_to_config(
            few_step=few_step,
            max_frames=max_frames or unet.config.num_frames,
            default_steps=default_steps,
            default_guidance=default_guidance,
            trained_size=trained_size,
        )
        for network in (vae, unet, controlnet):
            if norm_groups is not None and network is not None:
                set_norm_groups(network, norm_groups)
                network.register_to_config(norm_groups=norm_groups)
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        self._size_multiple = scale * 2 ** (len(unet.config.block_out_channels) - 1)
        self._video_processor = VideoProcessor(do_resize=False, vae_scale_factor=scale)

    @property
    def is_guided(self) -> bool:
        """See the base class: there is a branch without image."""
        return True

    @property
    def process(self) -> EDMProcess:
        """See the base class; the range of noise levels is stored only in the scheduler's configuration."""
        levels = noise_levels(self.scheduler)
        return EDMProcess(sigma_max=levels["sigma_max"], sigma_min=levels["sigma_min"])

    @property
    def denoiser(self) -> FramerUNet:
        return self.unet

    def sample_in_few_steps(self, steps: int) -> None:
        """See the base class."""
        self.register_modules(scheduler=make_scheduler("lcm", config=noise_levels(self.scheduler)))
        self.register_to_config(few_step=True, default_steps=steps, default_guidance=1.0)

    @contextmanager
    def scheduled(self, name: SchedulerName) -> Iterator[None]:
        """Sample with another scheduler inside the block, with its default steps, over this model's noise
        levels. If `name` is the kind of the model's own scheduler, that is used with its own steps.

        Raises:
            UsageError: no scheduler has that name.
        """
        own, steps = self.scheduler, self.config.default_steps
        other = make_scheduler(name, config=noise_levels(own))
        if type(other) is not type(own):
            self.register_modules(scheduler=other)
            self.register_to_config(default_steps=DEFAULT_STEPS[name])
        try:
            yield
        finally:
            self.register_modules(scheduler=own)
            self.register_to_config(default_steps=steps)

    @property
    def size_multiple(self) -> int:
        """Frames are padded to a multiple of this many pixels; 64 for the released model."""
        return self._size_multiple

    def _padding(self, size: Sequence[int]) -> tuple[int, int]:
        """Rows below and columns to the right that bring `size` (height, width) to the multiple."""
        height, width = (-side % self._size_multiple for side in size)
        return height, width

    def _vae_posterior(self, frames: Tensor) -> Any:
        """The autoencoder's posterior for frames (N, 3, H, W) of any size; float32 if half precision would overflow."""
        rows, columns = self._padding(frames.shape[-2:])
        padded = pad(frames, (0, columns, 0, rows), mode="replicate")
        dtype = self.vae.dtype
        upcast = dtype == torch.float16 and self.vae.config.force_upcast
        if upcast:
            self.vae.to(torch.float32)
        posterior = self.vae.encode(padded.to(self.vae.dtype)).latent_dist
        if upcast:
            self.vae.to(dtype)
        return posterior

    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Generators = None) -> Tensor:
        """See the base class; the condition has no effect, as Framer's latents are absolute."""
        posterior = self._vae_posterior(frames.flatten(0, 1))
        latents = posterior.mode().unflatten(0, frames.shape[:2]).float()
        if generator is not None:
            noise = randn_tensor(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
            latents = latents + posterior.std.float().unflatten(0, frames.shape[:2]) * noise
        return latents * self.vae.config.scaling_factor

    @torch.no_grad()
    def image_tokens(self, start: Tensor, end: Tensor) -> Tensor:
        """CLIP tokens of both keys, (B, 2, D), from keys (B, 3, H, W) in [-1, 1] of any size."""
        pixels = (preprocess_clip_images(keys).to(self.image_encoder.dtype) for keys in (start, end))
        return torch.stack([self.image_encoder(keys).image_embeds for keys in pixels], dim=1)

    @torch.no_grad()
    def condition(
        self,
        start: Tensor,
        end: Tensor,
        *,
        num_frames: int,
        prompt: str | Sequence[str] = "",
        fps: int | Sequence[int] | None = None,
        control: Control = None,
        guided: bool = True,
        generator: Generators = None,
        motion_bucket_id: int = DEFAULT_MOTION_BUCKET,
        noise_aug_strength: float = DEFAULT_NOISE_AUG,
        control_scale: float = 1.0,
    ) -> Condition:
        """See the base class. In `latents` the last channel is the mask, 1 where a frame has no key.

        Args:
            start, end: keys (B, 3, H, W) in [-1, 1].
            num_frames: F, at least 2.
            prompt, guided: Framer has neither text nor motion guidance.
            fps: None = 7.
            control: tracks, see `control.Control`.
            generator: for the noise on the keys; None = one per clip, seeded from the keys, so that a clip
                always gets the same noise, in any batch.
            motion_bucket_id, noise_aug_strength, control_scale: see `__call__`.
        """
        generator = picture_generators(start, end) if generator is None else generator
        tracks = resolve_tracks(control, start, end, num_frames, self.seeds(generator, len(start)))
        return self._condition(
            start,
            end,
            self.image_tokens(start, end),
            tracks,
            num_frames=num_frames,
            fps=fps,
            generator=generator,
            motion_bucket_id=motion_bucket_id,
            noise_aug_strength=noise_aug_strength,
            control_scale=control_scale,
        )

    def _condition(
        self,
        start: Tensor,
        end: Tensor,
        tokens: Tensor,
        tracks: Sequence[Tracks | None],
        *,
        num_frames: int,
        fps: int | Sequence[int] | None,
        generator: Generators,
        motion_bucket_id: int,
        noise_aug_strength: float,
        control_scale: float,
    ) -> Condition:
        """`condition` from image tokens (B, 2, D), which may come from keys before resizing, and from tracks."""
        batch, device = start.shape[0], start.device
        size = (start.shape[-2], start.shape[-1])
        first, last = (self._key_latents(keys, noise_aug_strength, generator) for keys in (start, end))
        latents = first.new_zeros(batch, num_frames, first.shape[1] + 1, *first.shape[2:])
        latents[:, 0, :-1] = first
        latents[:, -1, :-1] = last
        latents[:, 1:-1, -1] = 1
        led = [own is not None for own in tracks]
        controlled = torch.tensor(led, device=device)
        rate = torch.as_tensor(DEFAULT_FPS if fps is None else fps, dtype=torch.float32, device=device)
        return Condition(
            num_frames=num_frames,
            size=size,
            latents=latents,
            tokens=tokens,
            null_tokens=torch.zeros_like(tokens),
            fps=rate.expand(batch),
            control=self.draw_tracks(tracks, num_frames, size) if any(led) else None,
            extra={
                "motion_bucket": torch.full((batch,), float(motion_bucket_id), device=device),
                "noise_aug": torch.full((batch,), float(noise_aug_strength), device=device),
                "control_scale": controlled * float(control_scale),
            },
        )

    def _key_latents(self, keys: Tensor, noise_aug: float, generator: Generators) -> Tensor:
        """Latents of keys with noise on their pixels: the mode, *not* scaled, as the network expects."""
        noise = randn_tensor(keys.shape, generator=generator, device=keys.device, dtype=torch.float32)
        return self._vae_posterior(keys.float() + noise_aug * noise).mode().float()

    def draw_tracks(self, tracks: Sequence[Tracks | None], num_frames: int, size: tuple[int, int]) -> Tensor:
        """Heatmaps (B, F, 1, H, W) of tracks over frames of `size`, padded like the frames.

        Raises:
            UsageError: this pipeline has no ControlNet.
        """
        if self.controlnet is None:
            raise UsageError("This Framer has no ControlNet, which tracks need; leave tracks out or load one.")
        return control_maps(tracks, num_frames, size, self._padding(size)).to(self._execution_device)

    @staticmethod
    def seeds(generator: Generators, batch: int) -> list[int]:
        """One seed per clip for random numbers outside torch; generators are not advanced."""
        if isinstance(generator, Sequence):
            return [own.initial_seed() for own in generator]
        seed = torch.initial_seed() if generator is None else generator.initial_seed()
        return [seed + clip for clip in range(batch)]

    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        """See the base class: no image tokens and no key latents; mask and control are kept, as in training."""
        if keep_image:
            return condition
        latents = condition.latents.clone()
        latents[:, :, :-1] = 0
        return condition.replace(latents=latents, tokens=condition.null_tokens)

    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """See the base class; `t` is sigma, (B,). Clips of the batch are independent, whatever the temporal context."""
        return self.denoise_branches(noisy, t, [condition])[0]

    def denoise_branches(self, noisy: Tensor, t: Tensor, branches: Sequence[Condition]) -> list[Tensor]:
        """See the base class: interleaved temporal context mixes the tokens of the branches, the conditional one
        last."""
        count = len(branches)
        scaled = self.process.network_input(noisy, t)
        whole = branches[0] if count == 1 else Condition.cat(branches[::-1])
        answer, _ = self.network(
            torch.cat([scaled] * count), self.process.network_time(t).repeat(count), whole, branches=count
        )
        return list(answer.sample.to(noisy.dtype).chunk(count))[::-1]

    def network(
        self,
        scaled: Tensor,
        time: Tensor,
        condition: Condition,
        *,
        branches: int,
        depth: int = 0,
        deep: tuple[Tensor, ...] | None = None,
    ) -> tuple[FramerUNetOutput, tuple[Tensor, ...]]:
        """Evaluate ControlNet and UNet once, for scaled input (B, F, C, h, w) and c_noise `time`.

        `branches` is the number of guidance branches in the batch, and `depth` the number of the UNet's outermost
        layers that are evaluated if `deep` is given, see `FramerUNet.forward`; the ControlNet is then not evaluated.

        Returns:
            The UNet's output, and with `depth` the value of `deep` for a later evaluation: the UNet's features, and
            residuals of the ControlNet for these layers.
        """
        bare = _unwrapped(self.unet)
        dtype = bare.dtype
        keys, mask = condition.latents[:, :, :-1], condition.latents[:, :, -1:]
        sample = bare.with_keys(scaled, keys, mask)
        assert condition.tokens is not None and condition.fps is not None
        extra = condition.extra
        ids = torch.stack([condition.fps - 1, extra["motion_bucket"], extra["noise_aug"]], dim=1).to(dtype)
        told = (sample, time, condition.tokens.to(dtype), ids)
        residuals: dict[str, Any] = {}
        if condition.control is not None:
            channels = _unwrapped(self.controlnet).config.conditioning_channels
            maps = condition.control.to(dtype).expand(-1, -1, channels, -1, -1)
            if deep is None:
                down, middle = self.controlnet(*told, maps, extra["control_scale"], branches=branches)
            else:
                down, middle = deep[1:], None
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        # As a tuple: offload hooks cannot rebuild an output object.
        sample, *below = self.unet(
            *told,
            **residuals,
            branches=branches,
            deep=None if deep is None else deep[0],
            depth=depth,
            return_dict=False,
        )
        kept = (*below, *residuals.get("down_block_additional_residuals", ())[:depth]) if depth else ()
        return FramerUNetOutput(sample=sample), kept

    def decode(self, latents: Tensor, condition: Condition, *, chunk: int | None = None) -> Tensor:
        """See the base class; the decoder mixes the frames of a chunk, so `chunk` changes the frames slightly."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        parts = []
        for part in scaled.split(chunk or condition.num_frames, dim=1):
            decoded = self.vae.decode(part.flatten(0, 1), num_frames=part.shape[1]).sample
            parts.append(decoded.unflatten(0, part.shape[:2]))
        height, width = condition.size
        return torch.cat(parts, dim=1)[..., :height, :width].float()

    @torch.no_grad()
    def __call__(
        self,
        start: KeyFrames | None = None,
        end: KeyFrames | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        *,
        min_guidance_scale: float | None = None,
        max_guidance_scale: float | None = None,
        middle_max_guidance: bool = False,
        prompt: str | Sequence[str] = "",
        negative_prompt: str | Sequence[str] = "",
        height: int | None = None,
        width: int | None = None,
        fps: int | Sequence[int] | None = None,
        motion_bucket_id: int = DEFAULT_MOTION_BUCKET,
        noise_aug_strength: float = DEFAULT_NOISE_AUG,
        tracks: Control = None,
        control_scale: float = 1.0,
        control_range: tuple[float, float] = (0.0, 1.0),
        decode_chunk_size: int | None = None,
        generator: Generators = None,
        latents: Tensor | None = None,
        condition: Condition | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        return_dict: bool = True,
        cache: str | CacheLevel | None = None,
    ) -> FramerPipelineOutput | tuple[Any, ...]:
        """Draw the frames from `start` to `end`, both included.

        Args:
            start, end: the keys, one or a batch; see `read_keys`. Any size: they are padded internally and cropped.
            num_frames: F, at least 2; None = `max_frames`.
            num_inference_steps: steps of the scheduler; None = the model's.
            guidance_scale: one guidance for all frames; None = the ramp of the next three or, if none of them is
                given, the model's default.
            min_guidance_scale, max_guidance_scale: guidance of the first and of the last frame; None = 1 and 3. If
                none is above 1, the unconditional branch is not computed.
            middle_max_guidance: rise to the middle frame and fall again.
            prompt, negative_prompt: accepted for uniform calls; Framer reads no text.
            height, width: resize the keys to this first (pictures and arrays only); None = no resize.
            fps: frame-rate condition; None = 7.
            motion_bucket_id: motion condition, 1 to 255.
            noise_aug_strength: standard deviation of noise on the keys, in units of [-1, 1].
            tracks: see `control.Control`; pixels of the output.
            control_scale: factor on the ControlNet's residuals.
            control_range: start and end of the ControlNet's use, as shares of the steps.
            decode_chunk_size: frames decoded at once, to limit memory; see `decode`.
            generator: one, or one per clip: with one per clip, a clip does not depend on its batch. None = torch's
                global one.
            latents: starting noise, (B, F, C, h, w) with variance 1; None = random.
            condition: the result of `condition`, if it exists already; keys, tracks and other inputs of it
                are then not needed.
            output_type: "pil", "np", "pt" or "latent".
            callback_on_step_end: called as `callback(pipeline, step, timestep, values)`; a returned
                "latents" replaces them.
            callback_on_step_end_tensor_inputs: which of "latents" and "tracks" are in `values`.
            cache: level of feature caching, see `families.cache`; None = no caching.

        Raises:
            NakawariError: keys, tracks or options that cannot be used.
        """
        frames = self.config.max_frames if num_frames is None else num_frames
        if condition is not None:
            frames = condition.num_frames
        steps = self.config.default_steps if num_inference_steps is None else num_inference_steps
        check_call(frames, steps, control_range, output_type)
        self._warn_undistilled()
        device = self._execution_device
        generator = torch.default_generator if generator is None else generator
        followed: Sequence[Tracks | None]
        if condition is not None:
            check_generators(generator, condition.batch)
            followed = [None] * condition.batch
        elif start is None or end is None:
            raise UsageError("A call needs both keys, start and end, or a condition.")
        else:
            given, keys = read_pair(start, end, height, width)
            first, last = (images.to(device) for images in keys)
            check_generators(generator, len(first))
            followed = resolve_tracks(tracks, first, last, frames, self.seeds(generator, len(first)))
            condition = self._condition(
                first,
                last,
                self.image_tokens(*(images.to(device) for images in given)),
                followed,
                num_frames=frames,
                fps=fps,
                generator=generator,
                motion_bucket_id=motion_bucket_id,
                noise_aug_strength=noise_aug_strength,
                control_scale=control_scale,
            )
        if guidance_scale is None and not middle_max_guidance and min_guidance_scale is max_guidance_scale is None:
            guidance_scale = self.config.default_guidance
        guidance = guidance_ramp(frames, min_guidance_scale, max_guidance_scale, middle_max_guidance, guidance_scale)
        # On the CPU: diffusers reads every level back from the device.
        self.scheduler.set_timesteps(steps)
        noise = self.scheduler.sigmas[:steps].log().tolist()
        denoiser = GuidedDenoiser(self, condition, guidance, control_range, steps, cache_level(cache), noise)
        self.scheduler.set_begin_index(0)
        timesteps = self.scheduler.timesteps.to(device)
        x = self._start_latents(condition, generator, latents)
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        extra = {"generator": generator} if takes_generator else {}
        if isinstance(self.scheduler, LCMSVDScheduler):
            self.scheduler.draw_noises(x, generator)
        for index, timestep in enumerate(self.progress_bar(timesteps)):
            output = denoiser(x, timestep, index)
            x = self.scheduler.step(output, timestep, x, **extra, return_dict=False)[0]
            values = {"latents": x, "tracks": followed}
            x = self._call_back(callback_on_step_end, index, timestep, values, callback_on_step_end_tensor_inputs)

        result: Any = x
        if output_type != "latent":
            video = self.decode(x, condition, chunk=decode_chunk_size)
            result = self._video_processor.postprocess_video(video.transpose(1, 2), output_type)
        self.maybe_free_model_hooks()
        made = FramerPipelineOutput(frames=result, tracks=list(followed))
        return made if return_dict else made.to_tuple()

    def _warn_undistilled(self) -> None:
        if isinstance(self.scheduler, LCMSVDScheduler) and not self.config.few_step:
            warnings.warn(
                "The LCM sampler needs consistency-distilled weights and these are not: expect blur and low contrast; "
                "use euler or dpm++, or distil first.",
                NakawariWarning,
                stacklevel=4,
            )

    def _start_latents(self, condition: Condition, generator: Generators, latents: Tensor | None) -> Tensor:
        batch, frames, _, height, width = condition.latents.shape
        shape = (batch, frames, self.vae.config.latent_channels, height, width)
        device = condition.latents.device
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        elif tuple(latents.shape) != shape:
            raise UsageError(f"latents of shape {tuple(latents.shape)} do not fit; give {shape}.")
        return latents.to(device, torch.float32) * self.scheduler.init_noise_sigma
