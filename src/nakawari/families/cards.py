"""The model card of a saved folder, `README.md`: description and loading, from the folder alone; others add sections.

`training.cards` adds the training, `reporting.model_cards` the evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_text

CARD = "README.md"
_TAGS = ("frame-interpolation", "2d-animation", "nakawari")


def write_model_card(folder: Path, name: str, family: str, parameters: Mapping[str, int]) -> None:
    """Write the card of a whole model, if its folder has none.

    Args:
        name: of the pipeline's class.
        family: see `families.FAMILIES`.
        parameters: component -> number of parameters.
    """
    rows = "\n".join(f"| {part} | {count:,} |" for part, count in parameters.items())
    _write(
        folder,
        {"library_name": "diffusers", "pipeline_tag": "image-to-video", "tags": [*_TAGS, family]},
        f"""# {name}

A model of the {family} family: it draws the frames between two key drawings.

| part | parameters |
| --- | ---: |
{rows}

```bash
nakawari interpolate first.png last.png -o out --model THIS_FOLDER
```

```python
import nakawari
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("THIS_FOLDER")
frames = pipeline(first, last, num_frames=5).frames[0]
```
""",
    )


def write_adapter_card(folder: Path, config: Mapping[str, Any], layers: int, parameters: int) -> None:
    """Write the card of an adapter, if its folder has none.

    Args:
        config: PEFT's configuration.
        layers: number of adapted layers.
        parameters: number of parameters of the adapter.
    """
    rank, alpha = config["r"], config["lora_alpha"]
    divisor = "the square root of the rank" if config.get("use_rslora") else "the rank"
    _write(
        folder,
        {"library_name": "peft", "tags": [*_TAGS, "lora"]},
        f"""# LoRA adapter

Rank {rank}, alpha {alpha:g}, {layers} layers, {parameters:,} parameters. Its output is multiplied by alpha over
{divisor}; a scale multiplies that again; it was trained at scale 1.

```bash
nakawari interpolate first.png last.png -o out --model BASE --adapter THIS_FOLDER@0.7
```

```python
pipeline.load_lora_weights("THIS_FOLDER", adapter_name="show")  # a pipeline of nakawari
pipeline.set_adapters("show", 0.7)
unet.load_lora_adapter("THIS_FOLDER", prefix=None, use_safetensors=True)  # plain diffusers
unet = peft.PeftModel.from_pretrained(unet, "THIS_FOLDER")  # plain PEFT
```
""",
    )


def add_section(folder: Path, title: str, text: str, about: Mapping[str, Any] | None = None) -> None:
    """Append a section to a folder's card, or replace the section of that title; the rest is kept.

    Args:
        text: Markdown without headings of the second level.
        about: keys for the card's front matter.
    """
    import yaml

    path = folder / CARD
    head, body = _parted(path.read_text(encoding="utf-8") if path.is_file() else "")
    if about:
        head = yaml.safe_dump((yaml.safe_load(head) or {}) | dict(about), sort_keys=False, allow_unicode=True)
    others = [part for part in re.split(r"^(?=## )", body, flags=re.MULTILINE) if not part.startswith(f"## {title}\n")]
    body = "\n\n".join(part.strip() for part in [*others, f"## {title}\n\n{text}"] if part.strip())
    write_text(path, (f"---\n{head}---\n\n" if head else "") + body + "\n")


def front_matter(folder: Path) -> dict[str, Any]:
    """The front matter of a folder's card; {} if it is missing or unreadable."""
    import yaml

    path = folder / CARD
    try:
        found = yaml.safe_load(_parted(path.read_text(encoding="utf-8"))[0]) if path.is_file() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _parted(text: str) -> tuple[str, str]:
    """The front matter of a card, without its delimiters, and the rest."""
    found = re.match(r"---\n(.*?)^---\n", text, flags=re.DOTALL | re.MULTILINE)
    return (found[1], text[found.end() :]) if found else ("", text)


def _write(folder: Path, about: Mapping[str, Any], text: str) -> None:
    import yaml

    if not (folder / CARD).exists():
        write_text(folder / CARD, f"---\n{yaml.safe_dump(dict(about), sort_keys=False)}---\n\n{text}")
