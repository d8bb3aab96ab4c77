"""The pipeline of ToonCrafter: from two keys to a clip (Xing et al. 2024).

Differences from the reference: each key is encoded once, conditions are computed once,
both branches of guidance are evaluated in one batch, every clip decodes with its own reference features, and any
size is padded internally to the multiple that the model needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from diffusers.video_processor import VideoProcessor
from torch import Tensor

from ...diffusion import VelocityProcess
from ...guide.layout import pad_frames
from ..base import Condition, InterpolationOutput, InterpolationPipeline, StepCallback, default
from ..cache import CachedBranches, CacheLevel, cache_level
from ..inputs import KeyFrames
from .checkpoint_layout import UNET_RENAMES
from .guidance import Guidance
from .image_adapter import ImageAdapter
from .resampler import Resampler
from .sampling import Generators, OutputType, draw_noise, sample
from .scheduler import Sampler, Spacing, ToonCrafterScheduler
from .unet import ToonCrafterUNet
from .vae import DualReferenceAutoencoder

_ATTENTION = r"attn2\.to_(q|k|v|out\.0)$"


class ToonCrafterPipeline(InterpolationPipeline):
    """The ToonCrafter family.

    Args:
        unet, vae, scheduler: required.
        resampler, text_encoder, tokenizer, image_encoder: text and image encoders; all None in a model without context
            tokens.
        image_adapter: between an image encoder and a resampler of different widths; None if they fit.
        max_frames: the longest clip, keys included, that is drawn at once.
        default_steps, default_guidance, default_guidance_rescale, default_eta, default_fps: defaults of
            a call; fps is ToonCrafter's frame stride, 5 to 30, smaller = larger motion.
        trained_size: height and width of the training frames; None = unknown.
        double_decode: decode the two middle frames from a clip without the frames next to the keys, as the reference.
    """

    family = "tooncrafter"
    lora_patterns: ClassVar[dict[str, str]] = {
        "cross-attention": rf".*{_ATTENTION}",
        "spatial-cross-attention": rf"((in|out)put_blocks\.\d+|middle_block)\.1\..*{_ATTENTION}",
        "linear-and-convolution": r"(?!time_embed|fps_embedding|out\.).*",
    }
    layer_renames: ClassVar[dict[str, str]] = UNET_RENAMES
    default_lora: ClassVar[str] = "linear-and-convolution"
    condition_dropout: ClassVar[dict[str, float]] = {"text": 0.05, "image": 0.05, "image_only": 0.05}
    trained_fps: ClassVar[tuple[int, int]] = 5, 30
    model_cpu_offload_seq = "text_encoder->image_encoder->image_adapter->resampler->unet->vae"
    _optional_components: ClassVar[list[str]] = [
        "resampler",
        "text_encoder",
        "tokenizer",
        "image_encoder",
        "image_adapter",
    ]

    def __init__(
        self,
        unet: ToonCrafterUNet,
        vae: DualReferenceAutoencoder,
        scheduler: ToonCrafterScheduler,
        resampler: Resampler | None = None,
        text_encoder: Any = None,
        tokenizer: Any = None,
        image_encoder: Any = None,
        image_adapter: ImageAdapter | None = None,
        max_frames: int = 16,
        default_steps: int = 50,
        default_guidance: float = 7.5,
        default_guidance_rescale: float = 0.7,
        default_eta: float = 1.0,
        default_fps: int = 10,
        double_decode: bool = True,
        trained_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet,
            vae=vae,
            scheduler=scheduler,
            resampler=resampler,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_encoder=image_encoder,
            image_adapter=image_adapter,
        )
        self.register_to_config(
            max_frames=max_frames,
            default_steps=default_steps,
            default_guidance=default_guidance,
            default_guidance_rescale=default_guidance_rescale,
            default_eta=default_eta,
            default_fps=default_fps,
            double_decode=double_decode,
            trained_size=trained_size,
        )
        self.batched_guidance = True
        self._video_processor = VideoProcessor()

    # --- the five methods -----------------------------------------------------------------------------------------

    @property
    def frames_learnt(self) -> int | None:
        """See the base class."""
        return self.config.max_frames

    @property
    def reads_words(self) -> bool:
        """See the base class."""
        return self.text_encoder is not None

    @property
    def is_guided(self) -> bool:
        """See the base class: there is a branch without text and image."""
        return self.image_encoder is not None

    @property
    def process(self) -> VelocityProcess:
        return self.scheduler.process

    @property
    def denoiser(self) -> ToonCrafterUNet:
        return self.unet

    @property
    def multiple(self) -> int:
        """Frame sizes are padded to a multiple of this."""
        return self.vae.spatial_factor * 2 ** (len(self.unet.config.channel_mult) - 1)

    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Generators = None) -> Tensor:
        images = self._pad(frames).flatten(0, 1)
        moments, _ = self.vae.encode_features(images.to(self.vae.dtype))
        return self._latents(moments.unflatten(0, frames.shape[:2]), generator)

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
        interpolate: bool = True,
        negative_prompt: str | Sequence[str] = "",
    ) -> Condition:
        """See the base class; there is no motion guidance, so `guided` has no effect. `interpolate=False` is the
        reference's image-to-video layout: the start key everywhere. `negative_prompt` is the text of the unconditional
        branch."""
        if num_frames < 2:
            raise ValueError(f"a clip has at least its two keys, not {num_frames} frames")
        if control is not None:
            raise ValueError("ToonCrafter takes no control")
        keys = self._pad(torch.stack([start, end], dim=1)).to(self.vae.dtype)
        moments, hidden = self.vae.encode_features(keys.flatten(0, 1))
        key_latents = self._latents(moments.unflatten(0, keys.shape[:2]), generator)
        return Condition(
            num_frames=num_frames,
            size=(start.shape[-2], start.shape[-1]),
            latents=_place(key_latents, num_frames, interpolate),
            references=tuple(level.unflatten(0, keys.shape[:2]) for level in hidden),
            fps=self._strides(fps, start),
            **self._tokens(start, prompt, negative_prompt, num_frames),
        )

    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        return condition.replace(tokens=condition.image_tokens if keep_image else condition.null_tokens)

    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self._network(noisy, t, condition)

    def denoise_in_part(
        self, noisy: Tensor, t: Tensor, condition: Condition, depth: int, deep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self._network(noisy, t, condition, depth=depth, deep=deep)

    def _network(self, noisy: Tensor, t: Tensor, condition: Condition, **deep: Any) -> Any:
        seen = self.process.network_input(noisy, t)
        sample = torch.cat([seen, condition.latents.to(noisy.dtype)], dim=2)
        tokens = None if condition.tokens is None else condition.tokens.to(noisy.dtype)
        return self.unet(sample, t, context=tokens, fps=condition.fps, **deep)

    def decode(self, latents: Tensor, condition: Condition, *, chunk: int | None = None) -> Tensor:
        """See the base class; `chunk` is the number of clips decoded at once (a clip's frames share temporal
        layers)."""
        step = chunk or len(latents)
        starts = range(0, len(latents), step)
        parts = [self._decode_clips(latents[i : i + step], condition.select(slice(i, i + step))) for i in starts]
        height, width = condition.size
        return torch.cat(parts)[..., :height, :width]

    # --- the standard call ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(
        self,
        start: KeyFrames | None = None,
        end: KeyFrames | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
        guidance_rescale: float | None = None,
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
        interpolate: bool = True,
        double_decode: bool | None = None,
        generator: Generators = None,
        latents: Tensor | None = None,
        condition: Condition | None = None,
        decode_chunk: int | None = 1,
        output_type: OutputType = "pil",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents", "x0"),
        return_dict: bool = True,
        cache: str | CacheLevel | None = None,
    ) -> InterpolationOutput | tuple[Any]:
        """Draw the frames between two keys.

        Args:
            start, end: the keys, one or a batch, any size, see `inputs.read_keys`; not needed with `condition`.
            num_frames: length of the clip, both keys included; default: the model's longest.
            num_inference_steps: sampling steps (the `uniform` spacing may add a few, see `spaced_timesteps`).
            guidance_scale: guidance of text and image; 1 disables guidance.
            image_guidance_scale: optional separate scale of the image (three evaluations per step).
            guidance_rescale: 0 to 1, see `Guidance`.
            eta: 0 deterministic, 1 ancestral.
            spacing: "trailing" or "uniform".
            sampler: "ddim", or "consistency" for weights distilled to few steps; see `ToonCrafterScheduler`.
            temperature: factor on the noise of each step.
            prompt: text prompt, one for all or one per sample.
            negative_prompt: text of the unconditional branch, as `prompt`.
            height, width: resize the keys to this first (pictures and arrays only); None = no resize.
            fps: frame stride, one for all or one per sample.
            guided: no effect, there is no motion guidance.
            interpolate: False gives the reference's image-to-video layout.
            double_decode: see the class.
            generator: one per sample (results then do not depend on the batch), or one for all.
            latents: starting noise (B, F, C, h, w); default: random.
            condition: the result of `condition`, if it exists already.
            cache: level of feature caching, see `families.cache`; None = no caching.
            decode_chunk: clips decoded at once.
            output_type: type of `frames`.
            callback_on_step_end: called as `callback(pipeline, step, time, values)`; a returned "latents"
                replaces them.
            callback_on_step_end_tensor_inputs: which of "latents" and "x0" are in `values`.
            return_dict: False gives a tuple.
        """
        if output_type not in get_args(OutputType):
            raise ValueError(f"output_type must be one of {', '.join(get_args(OutputType))}, not {output_type!r}")
        defaults = self.config
        if condition is None:
            condition = self.condition(
                *self._keys(start, end, height, width),
                num_frames=num_frames or defaults.max_frames,
                prompt=prompt,
                negative_prompt=negative_prompt,
                fps=fps,
                generator=generator,
                interpolate=interpolate,
            )
        guidance = Guidance(
            default(guidance_scale, defaults.default_guidance),
            image_guidance_scale,
            default(guidance_rescale, defaults.default_guidance_rescale),
        )
        self.scheduler.set_timesteps(num_inference_steps or defaults.default_steps, spacing=spacing, sampler=sampler)
        branches, level = self._branches(condition, guidance), cache_level(cache)
        noise = -self.process.snr(self.scheduler.timesteps.cpu()).log() / 2
        cached = None if level is None else CachedBranches(level, noise.tolist(), self.batched_guidance)

        def answer(x: Tensor, time: int, number: int) -> Tensor:
            if cached is not None:
                return guidance.combine(cached.outputs(self, x, time, number, branches))
            return guidance.combine(self._outputs(x, time, branches))

        if latents is None:
            latents = draw_noise(condition.latents[:, :, : self.unet.config.out_channels], generator)
        x = sample(
            self.scheduler,
            answer,
            latents.float(),
            eta=default(eta, defaults.default_eta),
            temperature=temperature,
            generator=generator,
            progress=self.progress_bar,
            on_step=self._on_step(callback_on_step_end, callback_on_step_end_tensor_inputs),
        )
        if output_type == "latent":
            self.maybe_free_model_hooks()
            return self._output(x, return_dict)
        twice = default(double_decode, defaults.double_decode)
        frames = (
            self.decode_twice(x, condition, decode_chunk) if twice else self.decode(x, condition, chunk=decode_chunk)
        )
        self.maybe_free_model_hooks()
        video = frames.float().transpose(1, 2)
        return self._output(self._video_processor.postprocess_video(video, output_type), return_dict)

    def _branches(self, condition: Condition, guidance: Guidance) -> list[Condition]:
        if guidance.off or condition.null_tokens is None:
            return [condition]
        branches = [condition, self.unconditional(condition)]
        return branches if guidance.image_scale is None else [*branches, self.unconditional(condition, keep_image=True)]

    def _outputs(self, x: Tensor, time: int, branches: list[Condition]) -> list[Tensor]:
        dtype = self.unet.dtype
        if self.batched_guidance:
            joined = x.repeat(len(branches), 1, 1, 1, 1).to(dtype)
            times = torch.full((len(joined),), time, device=x.device)
            whole = branches[0] if len(branches) == 1 else Condition.cat(branches)
            return list(self.denoise(joined, times, whole).float().chunk(len(branches)))
        times = torch.full((len(x),), time, device=x.device)
        return [self.denoise(x.to(dtype), times, branch).float() for branch in branches]

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _pad(self, frames: Tensor) -> Tensor:
        return pad_frames(frames, -frames.shape[-2] % self.multiple, -frames.shape[-1] % self.multiple)

    def _latents(self, moments: Tensor, generator: Generators) -> Tensor:
        mean, log_variance = moments.chunk(2, dim=2)
        if generator is not None:
            mean = mean + (0.5 * log_variance.clamp(-30, 20)).exp() * draw_noise(mean, generator).to(mean)
        return mean * self.vae.config.scaling_factor

    def _strides(self, fps: int | Sequence[int] | None, start: Tensor) -> Tensor | None:
        if not self.unet.config.fps_condition:
            return None
        values = default(fps, self.config.default_fps)
        values = [values] * len(start) if isinstance(values, int) else list(values)
        return torch.tensor(values, device=start.device)

    def _tokens(
        self, start: Tensor, prompt: str | Sequence[str], negative: str | Sequence[str], num_frames: int
    ) -> dict[str, Tensor]:
        if self.text_encoder is None or self.image_encoder is None or self.resampler is None:
            return {}
        from .towers import encode_image

        text = self._text([prompt] * len(start) if isinstance(prompt, str) else list(prompt), start.device)
        negatives = [negative] if isinstance(negative, str) else list(negative)
        empty = self._text(negatives, start.device).expand(len(start), -1, -1)
        # "No image" is a mid-grey picture through the image encoder, not zero tokens.
        images = torch.cat([start, torch.zeros_like(start[:1])])
        seen = self.resampler(self._fitted(encode_image(self.image_encoder, images)), num_frames=num_frames)
        image, no_image = seen[:-1], seen[-1:].expand(len(start), -1, -1)
        return {
            "tokens": torch.cat([text, image], dim=1),
            "null_tokens": torch.cat([empty, no_image], dim=1),
            "image_tokens": torch.cat([empty, image], dim=1),
        }

    def sample_in_few_steps(self, steps: int) -> None:
        """See the base class."""
        self.scheduler.register_to_config(sampler="consistency", spacing="trailing")
        self.register_to_config(default_steps=steps, default_guidance=1.0)

    def _fitted(self, tokens: Tensor) -> Tensor:
        """Image tokens at the input width of the resampler."""
        return tokens if self.image_adapter is None else self.image_adapter(tokens)

    def add_image_adapter(self) -> bool:
        """See the base class."""
        if self.image_encoder is None or self.resampler is None or self.image_adapter is not None:
            return False
        tower, projector = self.image_encoder.config.hidden_size, self.resampler.config.embedding_dim
        if tower != projector:
            self.register_modules(image_adapter=ImageAdapter(tower, projector).to(self.resampler.device))
        return tower != projector

    def load_image_adapter(self, folder: Path) -> None:
        """See the base class."""
        adapter = ImageAdapter.from_pretrained(folder, local_files_only=True)
        self.register_modules(image_adapter=adapter.to(self.resampler.dtype))

    def _text(self, prompts: list[str], device: torch.device) -> Tensor:
        from .towers import encode_text, tokenize

        return encode_text(self.text_encoder, tokenize(self.tokenizer, prompts).to(device))

    def _decode_clips(self, latents: Tensor, condition: Condition) -> Tensor:
        return self.vae.decode(latents.to(self.vae.dtype), references=condition.references)

    def decode_twice(self, latents: Tensor, condition: Condition, chunk: int | None) -> Tensor:
        """The reference's second decode: the two middle frames come from a clip without frames 1 and F - 2."""
        frames, count = self.decode(latents, condition, chunk=chunk), latents.shape[1]
        if count < 6 or count % 2:
            return frames
        kept = [index for index in range(count) if index not in (1, count - 2)]
        short = condition.replace(num_frames=len(kept))
        middle = self.decode(latents[:, kept], short, chunk=chunk)[:, count // 2 - 2 : count // 2]
        return torch.cat([frames[:, : count // 2 - 1], middle, frames[:, count // 2 + 1 :]], dim=1)


def _place(keys: Tensor, num_frames: int, interpolate: bool) -> Tensor:
    if not interpolate:
        return keys[:, :1].expand(-1, num_frames, -1, -1, -1)
    between = keys.new_zeros(len(keys), num_frames - 2, *keys.shape[2:])
    return torch.cat([keys[:, :1], between, keys[:, 1:]], dim=1)
