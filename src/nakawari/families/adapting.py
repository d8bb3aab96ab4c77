"""Adapters on a pipeline as people of diffusers and PEFT know them; any of `adapter_files`' layouts, strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from diffusers.loaders.lora_base import LoraBaseMixin
from diffusers.utils import logging
from torch import nn

from ..errors import NakawariError, UsageError
from ..files import read_json, write_json
from .adapter_files import PEFT_WEIGHTS, read_adapter, weights_file
from .cards import write_adapter_card

ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
IMAGE_ADAPTER = "image_adapter"
DECODER = "decoder"
SAMPLING = "sampling.json"


class AdapterCalls(LoraBaseMixin):
    """What `diffusers.loaders` gives pipelines of its own: `load_lora_weights`, `set_adapters`, `fuse_lora`,
    `unload_lora_weights` and their kin, for the denoiser and, where an adapter has one, for the autoencoder's decoder.

    A weight of `set_adapters` multiplies the adapter's own alpha / rank, as everywhere in diffusers.
    """

    family: str
    denoiser_name: ClassVar[str]
    denoiser: Any
    lora_patterns: Mapping[str, str]
    """Preset name -> regular expression over the denoiser's module names; its linear and convolution layers count."""
    layer_renames: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Parts of layer names in the family's original code -> ours."""

    @property
    def lora_presets(self) -> dict[str, list[str]]:
        """Preset name -> layers, for `peft.LoraConfig(target_modules=...)`."""
        return {name: self.lora_layers(pattern) for name, pattern in self.lora_patterns.items()}

    def lora_layers(self, target: str) -> list[str]:
        """The names of the denoiser's linear and convolution layers that a preset or a regular expression names.

        Raises:
            UsageError: there is none.
        """
        presets = ", ".join(sorted(self.lora_patterns))
        try:
            pattern = re.compile(self.lora_patterns.get(target, target))
        except re.error as error:
            raise UsageError(
                f"{target!r} is neither a preset ({presets}) nor a regular expression ({error}); choose a preset."
            ) from error
        modules = self.denoiser.named_modules()
        names = [name for name, module in modules if pattern.fullmatch(name) and isinstance(module, ADAPTABLE)]
        if not names:
            raise UsageError(
                f"The target {target!r} matches no layer of this {self.family} denoiser; "
                f"presets are {presets}, and any regular expression over its module names will do."
            )
        return names

    def load_lora_weights(
        self, source: str | Path, adapter_name: str | None = None, *, weight_name: str | None = None
    ) -> None:
        """Load an adapter beside those that are there, at scale 1, and use it alone.

        Args:
            source: a file or folder of a layout of `adapter_files`, or a training run.
            adapter_name: for `set_adapters`; None = the first free one of default_0, default_1 and so on.
            weight_name: the file in the folder, where there are several.

        Raises:
            NakawariError: no adapter there, or one for other layers, widths or ranks; a name that is taken.
        """
        taken = getattr(self.denoiser, "peft_config", {})
        name = adapter_name or next(f"default_{n}" for n in range(len(taken) + 1) if f"default_{n}" not in taken)
        if name in taken:
            raise NakawariError(f"There is an adapter {name!r} already; choose another adapter_name.")
        folder = load_adapter(self, Path(source) / (weight_name or ""), name)
        if (folder / SAMPLING).is_file():
            self.sample_in_few_steps(few_steps(folder / SAMPLING))
        self.set_adapters(name)

    def save_lora_weights(self, save_directory: str | Path, adapter_name: str | None = None) -> None:
        """Write one adapter in diffusers' and in PEFT's layout; None = the only one there is."""
        names = [adapter_name] if adapter_name else list(getattr(self.denoiser, "peft_config", {}))
        if len(names) != 1:
            raise UsageError(f"There are {len(names)} adapters; name the one to save by adapter_name.")
        save_adapter(self.denoiser, Path(save_directory), names[0])
        if names[0] in getattr(self.components.get("vae"), "peft_config", {}):
            save_adapter(self.components["vae"], Path(save_directory) / DECODER, names[0])

    def fuse_lora(self, components: list[str] | None = None, **how: Any) -> None:
        """As diffusers'; None = every network that carries adapters."""
        super().fuse_lora(components=components or self._lora_loadable_modules, **how)

    def unfuse_lora(self, components: list[str] | None = None, **how: Any) -> None:
        """As diffusers'; None = every network that carries adapters."""
        super().unfuse_lora(components=components or self._lora_loadable_modules, **how)

    @property
    def _lora_loadable_modules(self) -> list[str]:
        adapted = hasattr(self.components.get("vae"), "peft_config")
        return [self.denoiser_name, *(["vae"] if adapted else [])]


def load_adapter(pipeline: Any, source: Path, name: str) -> Path:
    """Put the adapter in `source` onto a pipeline's denoiser, and what lies beside it onto the other parts; returns its
    folder. Raises as `read_adapter`."""
    path = weights_file(source)
    _put(path, pipeline.denoiser, pipeline, name)
    if (path.parent / DECODER).is_dir():
        _put(weights_file(path.parent / DECODER), autoencoder(pipeline), pipeline, name)
    if (path.parent / IMAGE_ADAPTER).is_dir():
        pipeline.load_image_adapter(path.parent / IMAGE_ADAPTER)
    return path.parent


def _put(path: Path, network: Any, pipeline: Any, name: str) -> None:
    found = read_adapter(path, network, pipeline.family, pipeline.layer_renames)
    try:
        network.load_lora_adapter(found.weights, adapter_name=name, prefix=None, metadata=found.config)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"Adapter {path} could not be loaded ({reason}); train it again.") from error
    network.train(network.training)  # a new layer's dropout would be on


def save_adapter(network: Any, folder: Path, name: str) -> None:
    """Write the adapter `name` of a network into `folder`, in diffusers' layout and in PEFT's."""
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it would remark on modules kept in float32, of which there are none
    try:
        network.save_lora_adapter(folder, adapter_name=name)
    finally:
        logging.set_verbosity(level)
    weights = get_peft_model_state_dict(network, adapter_name=name)
    save_file(
        {f"base_model.model.{key}": value.contiguous() for key, value in weights.items()},
        folder / PEFT_WEIGHTS,
        metadata={"format": "pt"},
    )
    config = network.peft_config[name]
    config.save_pretrained(folder)
    layers = len({key.partition(".lora_")[0] for key in weights})
    write_adapter_card(folder, config.to_dict(), layers, sum(value.numel() for value in weights.values()))


def autoencoder(pipeline: Any) -> Any:
    """The autoencoder, whose decoder may be adapted beside the denoiser. Raises `NakawariError` where it may not."""
    found = pipeline.components.get("vae")
    if not hasattr(found, "add_adapter"):
        raise NakawariError(
            f"The decoder of a {pipeline.family} model takes no adapter; set objective.lora.decoder_rank to 0, or use "
            "an adapter without one."
        )
    return found


def write_few_steps(folder: Path, steps: int) -> None:
    """Say beside an adapter that it draws in `steps` steps of the consistency sampler, with guidance folded in."""
    write_json(folder / SAMPLING, {"sampler": "consistency", "num_inference_steps": steps, "guidance_scale": 1.0})


def few_steps(path: Path) -> int:
    """The steps that `write_few_steps` wrote."""
    words = read_json(path)
    steps = words.get("num_inference_steps") if isinstance(words, dict) else None
    if not isinstance(steps, int) or steps < 1 or words.get("sampler") != "consistency":
        raise NakawariError(
            f"{path} must name the sampler consistency and num_inference_steps of 1 or more; "
            "copy it from the training run."
        )
    return steps
