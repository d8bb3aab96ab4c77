"""Writes a model of the published size with random weights, as a folder for every command.

    python benchmarks/full_size_model.py FOLDER [--family tooncrafter|framer] [--dtype float16]

Its output is noise, but it needs the memory and time of the real one: 5.2 GB in 16 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nakawari.families.conversion import no_progress_bar
from nakawari.families.framer.convert import FRAMES, TRAINED_SIZE
from nakawari.files import atomic_path, check_new

Parts = dict[str, Callable[[], nn.Module]]


def tooncrafter() -> tuple[type[Any], Parts]:
    """The pipeline's class, and a constructor for each of its networks."""
    from transformers import CLIPTextModel, CLIPVisionModel

    from nakawari.families.tooncrafter.configs import FULL
    from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
    from nakawari.families.tooncrafter.resampler import Resampler
    from nakawari.families.tooncrafter.towers import text_config, vision_config
    from nakawari.families.tooncrafter.unet import ToonCrafterUNet
    from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder

    return ToonCrafterPipeline, {
        "unet": lambda: ToonCrafterUNet(**FULL),
        "vae": DualReferenceAutoencoder,
        "resampler": Resampler,
        "text_encoder": lambda: CLIPTextModel(text_config()),
        "image_encoder": lambda: CLIPVisionModel(vision_config()),
    }


def framer() -> tuple[type[Any], Parts]:
    """As `tooncrafter`."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from nakawari.families.framer.configs import FULL
    from nakawari.families.framer.controlnet import ControlNetSVD
    from nakawari.families.framer.pipeline import FramerPipeline
    from nakawari.families.framer.unet import FramerUNet

    return FramerPipeline, {
        "unet": lambda: FramerUNet(**FULL["unet"]),
        "controlnet": lambda: ControlNetSVD(**FULL["controlnet"]),
        "vae": lambda: AutoencoderKLTemporalDecoder(**FULL["vae"]),
        "image_encoder": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**FULL["image_encoder"])),
    }


def scheduler_of(family: str) -> Any:
    """The scheduler of a released model."""
    if family == "framer":
        from nakawari.families.framer.schedulers import make_scheduler

        return make_scheduler("euler")
    from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler

    return ToonCrafterScheduler()


@torch.no_grad()
def fill(module: nn.Module, dtype: torch.dtype, seed: int) -> nn.Module:
    """Allocate a meta-device module, with weights small enough that no activation overflows half precision."""
    module = module.to(dtype).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if not value.is_floating_point():
            value.copy_(torch.arange(value.numel()).reshape(value.shape))
        elif value.ndim == 1 and name.endswith("weight"):
            value.fill_(1)
        else:
            for row in value.view(-1).split(2**24):
                row.normal_(0, 0.02, generator=generator)
    return module


def make(folder: Path, family: str, dtype: torch.dtype) -> None:
    """Write the folder atomically; one network in memory at a time."""
    cls, parts = {"tooncrafter": tooncrafter, "framer": framer}[family]()
    check_new(folder)
    with atomic_path(folder) as temporary, no_progress_bar():
        temporary.mkdir()
        empty = {}
        for seed, (name, build) in enumerate(parts.items()):
            with torch.device("meta"):
                module = build()
            filled = fill(module, dtype, seed)
            filled.save_pretrained(temporary / name)
            empty[name] = filled.to_empty(device="meta")
            print(f"{name}: {sum(value.numel() for value in filled.parameters()):,} parameters", flush=True)
        scheduler = scheduler_of(family)
        scheduler.save_pretrained(temporary / "scheduler")
        said = {"max_frames": FRAMES} if family == "framer" else {}
        cls(**empty, scheduler=scheduler, trained_size=TRAINED_SIZE, **said).save_config(temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=["tooncrafter", "framer"], default="tooncrafter")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16")
    args = parser.parse_args()
    make(args.folder, args.family, getattr(torch, args.dtype))


if __name__ == "__main__":
    main()
