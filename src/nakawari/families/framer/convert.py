"""Read the published folders of Framer strictly, and write one folder in diffusers layout.

Framer is published as two folders, `unet` and `controlnet`; the autoencoder, the image encoder and the scheduler are
those of Stable Video Diffusion XT. Their weights have the names of our modules, so nothing is renamed; missing or
unexpected keys and wrong shapes are errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKLTemporalDecoder
from diffusers.configuration_utils import ConfigMixin
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ...errors import NakawariError
from ...files import atomic_path, check_new, read_json
from ..conversion import ConversionReport, no_progress_bar
from .controlnet import ControlNetSVD
from .pipeline import FramerPipeline
from .schedulers import make_scheduler
from .unet import FramerUNet

_WEIGHTS = {
    FramerUNet: "diffusion_pytorch_model",
    ControlNetSVD: "diffusion_pytorch_model",
    AutoencoderKLTemporalDecoder: "diffusion_pytorch_model",
    CLIPVisionModelWithProjection: "model",
}
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Contents(NamedTuple):
    """Contents of a weights file: number of tensors, and their number format, None if it varies."""

    tensors: int
    dtype: torch.dtype | None


FRAMES = 14
"""Frames of Framer's training clips; its UNet's configuration still has Stable Video Diffusion XT's 25."""
TRAINED_SIZE = (320, 512)
"""Height and width of Framer's training clips."""


def load_published(framer: Path | str, svd: Path | str, dtype: torch.dtype | None = None) -> FramerPipeline:
    """A pipeline from the published folders.

    Args:
        framer: folder with `unet/` and `controlnet/`, as `framer_512x320`.
        svd: folder of Stable Video Diffusion XT, with `vae/`, `image_encoder/` and `scheduler/`.
        dtype: of the weights in memory; None = as in each file.

    Raises:
        NakawariError: a missing folder or file, a missing or unexpected key, a wrong shape.
    """
    framer, svd = Path(framer), Path(svd)
    for folder, parts in ((framer, ("unet", "controlnet")), (svd, ("vae", "image_encoder", "scheduler"))):
        for part in parts:
            if not (folder / part).is_dir():
                raise NakawariError(
                    f"{folder} holds no folder {part}; give Framer's folder (unet, controlnet) and that of "
                    "Stable Video Diffusion XT (vae, image_encoder, scheduler)."
                )
    schedule = read_json(svd / "scheduler" / "scheduler_config.json")
    unet = _load(FramerUNet, framer / "unet", dtype)
    return FramerPipeline(
        vae=_load(AutoencoderKLTemporalDecoder, svd / "vae", dtype),
        image_encoder=_load(CLIPVisionModelWithProjection, svd / "image_encoder", dtype),
        unet=unet,
        scheduler=make_scheduler("euler", config=schedule),
        controlnet=_load(ControlNetSVD, framer / "controlnet", dtype),
        max_frames=min(FRAMES, unet.config.num_frames),
        trained_size=TRAINED_SIZE,
    )


def convert(
    framer: Path | str, svd: Path | str, output: Path | str, dtype: torch.dtype | None = None
) -> ConversionReport:
    """Write the pipeline of `load_published` as one folder for `FramerPipeline.from_pretrained`, atomically.

    Raises:
        NakawariError: as `load_published`, or an output that exists or cannot be written.
    """
    output = Path(output)
    check_new(output)
    with no_progress_bar():
        pipeline = load_published(framer, svd, dtype)
        with atomic_path(output) as temporary:
            pipeline.save_pretrained(temporary)
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return ConversionReport(
        output_dir=output,
        keys={name: len(part.state_dict()) for name, part in parts.items()},
        parameters={name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()},
    )


def _load(kind: type[Any], folder: Path, dtype: torch.dtype | None) -> Any:
    """A model from its folder, after checking its weights against its configuration."""
    config = read_json(folder / "config.json")
    file = _weights_file(folder, _WEIGHTS[kind])
    contents = check_weights(_empty(kind, config, folder), file)
    variant = {"variant": "fp16"} if file.name.endswith(".fp16.safetensors") else {}
    number_format = dtype or contents.dtype or torch.float32
    return kind.from_pretrained(folder, use_safetensors=True, dtype=number_format, **variant).eval()


def _weights_file(folder: Path, stem: str) -> Path:
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return folder / name
    raise NakawariError(f"{folder} holds no {stem}.safetensors; download the safetensors files of the model.")


def _empty(kind: type[Any], config: dict[str, Any], folder: Path) -> nn.Module:
    """The model of `config` on the meta device."""
    try:
        with torch.device("meta"):
            if issubclass(kind, ConfigMixin):
                return kind.from_config(config)
            return kind(CLIPVisionConfig(**config))
    except (TypeError, ValueError, KeyError) as error:
        raise NakawariError(f"{folder}/config.json does not describe a {kind.__name__}: {error}.") from error


def check_weights(model: nn.Module, file: Path) -> Contents:
    """Refuse a weights file whose keys and shapes are not exactly those of `model`; weights are not read.

    Raises:
        NakawariError: a broken file, a missing or an unknown key, another shape.
    """
    expected = {name: list(value.shape) for name, value in model.state_dict().items()}
    try:
        with safe_open(file, framework="pt") as weights:
            slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
            found = {name: part.get_shape() for name, part in slices.items()}
            formats = {_DTYPES.get(part.get_dtype()) for part in slices.values()}
    except (SafetensorError, OSError) as error:
        raise NakawariError(f"{file} is not a complete safetensors file ({error}); download it again.") from error
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    kind = type(model).__name__
    if missing or unknown:
        faults = [
            f"{len(names)} {what}, first {names[0]}"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        raise NakawariError(
            f"{file} does not hold the weights of {kind}: keys {' and '.join(faults)}; check which model it is."
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise NakawariError(
                f"{file}: {name} is {found[name]}, and {kind} needs {shape}; its config.json belongs to another model."
            )
    return Contents(len(found), formats.pop() if len(formats) == 1 else None)
