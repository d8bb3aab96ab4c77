"""Compatibility with models saved by earlier revisions: other names, and settings that are constants now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import NakawariError

_MODULES = {"nakawari.families.motion": "nakawari.guide.motion"}
_AUTOENCODER = ["nakawari.families.framer.autoencoder", "FramerAutoencoder"]
_MINI_PARTS = {
    "unet": ["nakawari.families.mini.unet", "MiniUNet"],
    "vae": ["nakawari.families.mini.autoencoder", "LinearAutoencoder"],
}
_MINI_SETTINGS = ("scheduler", "guide", "max_frames", "default_steps", "_name_or_path", "_diffusers_version")


def present(index: Mapping[str, Any]) -> dict[str, Any]:
    """A `model_index.json` with current names of classes and settings."""
    index = {name: _component(value) for name, value in index.items()}
    # mini was a ToonCrafter with a guide before it became a family of its own.
    if index.get("_class_name") == "ToonCrafterPipeline" and (index.get("guide") or [None])[0] is not None:
        kept = {name: index[name] for name in _MINI_SETTINGS if name in index}
        return {"_class_name": "MiniPipeline", **_MINI_PARTS, **kept}
    if index.get("_class_name") == "FramerPipeline" and index.get("vae") == [
        "diffusers",
        "AutoencoderKLTemporalDecoder",
    ]:
        index["vae"] = _AUTOENCODER
    return index


def _component(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return [_MODULES.get(value[0], value[0]), value[1]]
    return value


def without_constants(config: Mapping[str, Any], constants: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A saved configuration without the settings of earlier revisions that are `constants` now.

    Raises:
        NakawariError: it has another value there, which is no longer supported.
    """
    for name, value in constants.items():
        saved = config.get(name, value)
        if (tuple(saved) if isinstance(saved, list) else saved) != value:
            raise NakawariError(f"This {what} has {name} {saved}, which only earlier versions read; train it again.")
    return {name: value for name, value in config.items() if name not in constants}
