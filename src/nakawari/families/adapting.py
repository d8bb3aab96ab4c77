"""Adapters on a pipeline by the methods of diffusers and PEFT; strict, for all layouts of `adapter_files`."""

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
    """The adapter methods of diffusers' pipelines: `load_lora_weights`, `set_adapters`, `fuse_lora`,
    `unload_lora_weights` and others, for the denoiser and, if an adapter has one, for the autoencoder's decoder.

    A weight of `set_adapters` multiplies the adapter's own alpha / rank, as in diffusers.
    """

    family: str
    denoiser_name: ClassVar[str]
    denoiser: Any
    lora_patterns: Mapping[str, str]
    """Preset name -> regular expression over the denoiser's module names; selects linear and convolution layers."""
    layer_renames: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Parts of layer names in the family's original code -> ours."""

    @property
    def lora_presets(self) -> dict[str, list[str]]:
        """Preset name -> layers, for `peft.LoraConfig(target_modules=...)`."""
        return {name: self.lora_layers(pattern) for name, pattern in self.lora_patterns.items()}

    def lora_layers(self, target: str) -> list[str]:
        """The names of the denoiser's linear and convolution layers matched by a preset or a regular expression.

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
                f"give a preset, {presets}, or a regular expression over its module names."
            )
        return names

    def load_lora_weights(
        self, source: str | Path, adapter_name: str | None = None, *, weight_name: str | None = None
    ) -> None:
        """Load a further adapter, at scale 1, and activate only it.

        Args:
            source: a file or folder of a layout of `adapter_files`, or a training run.
            adapter_name: for `set_adapters`; None = the first free one of default_0, default_1 and so on.
            weight_name: the file in the folder, if there are several.

        Raises:
            NakawariError: no adapter, or one for other layers, widths or ranks; a name in use.
        """
        taken = getattr(self.denoiser, "peft_config", {})
        name = adapter_name or next(f"default_{n}" for n in range(len(taken) + 1) if f"default_{n}" not in taken)
        if name in taken:
            raise NakawariError(f"There is already an adapter {name!r}; choose another adapter_name.")
        folder = load_adapter(self, Path(source) / (weight_name or ""), name)
        if (folder / SAMPLING).is_file():
            self.sample_in_few_steps(few_steps(folder / SAMPLING))
        self.set_adapters(name)

    def save_lora_weights(self, save_directory: str | Path, adapter_name: str | None = None) -> None:
        """Write one adapter in diffusers' and in PEFT's layout; None = the only one there is."""
        names = [adapter_name] if adapter_name else list(getattr(self.denoiser, "peft_config", {}))
        if len(names) != 1:
            raise UsageError(f"There are {len(names)} adapters; give the one to save as adapter_name.")
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
    """Load the adapter in `source` into a pipeline's denoiser, and those beside it into the other components; returns
    its folder. Raises the errors of `read_adapter`."""
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
    network.train(network.training)  # otherwise a new layer's dropout is enabled


def save_adapter(network: Any, folder: Path, name: str) -> None:
    """Write the adapter `name` of a network into `folder`, in diffusers' layout and in PEFT's."""
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns about missing float32 modules
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
    """The autoencoder, if its decoder can be adapted. Raises `NakawariError` otherwise."""
    found = pipeline.components.get("vae")
    if not hasattr(found, "add_adapter"):
        raise NakawariError(
            f"The decoder of a {pipeline.family} model takes no adapter; set objective.lora.decoder_rank to 0, or use "
            "an adapter without one."
        )
    return found


def write_few_steps(folder: Path, steps: int) -> None:
    """Record beside an adapter that it needs `steps` steps of the consistency sampler, without guidance."""
    write_json(folder / SAMPLING, {"sampler": "consistency", "num_inference_steps": steps, "guidance_scale": 1.0})


def few_steps(path: Path) -> int:
    """The steps recorded by `write_few_steps`."""
    words = read_json(path)
    steps = words.get("num_inference_steps") if isinstance(words, dict) else None
    if not isinstance(steps, int) or steps < 1 or words.get("sampler") != "consistency":
        raise NakawariError(
            f"{path} must name the sampler consistency and num_inference_steps of 1 or more; "
            "copy it from the training run."
        )
    return steps
