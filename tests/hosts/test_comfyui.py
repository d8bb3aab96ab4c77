"""The nodes, run by ComfyUI's node API: schema, workflows, outputs equal to the command's."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import comfyui_api
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

HERE = Path(__file__).parent
PACK = HERE.parents[1] / "hosts" / "comfyui"
Cli = Callable[..., Result]
NAMED = ("--format", "png", "--name", "frame_####")


@pytest.fixture(scope="module")
def pack() -> Any:
    """The node pack, imported by path as in ComfyUI."""
    with comfyui_api.importable(comfyui_api.root()), pytest.MonkeyPatch.context() as patch:
        spec = importlib.util.spec_from_file_location(
            "comfy_pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "comfy_pack", module)
        spec.loader.exec_module(module)
        yield module
        for name in [name for name in sys.modules if name.startswith("comfy_pack.")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def nodes(pack: Any) -> dict[str, Any]:
    """Node id -> node."""
    with ThreadPoolExecutor(1) as pool:  # a test of the app may have left a loop running in this thread
        extension = pool.submit(asyncio.run, pack.comfy_entrypoint()).result()
        nodes = pool.submit(asyncio.run, extension.get_node_list()).result()
    return {node.GET_SCHEMA().node_id: node for node in nodes}


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    y, x = np.mgrid[:64, :96]
    paths = []
    for number, centre in enumerate((20, 60), 1):
        frame = np.full((64, 96, 3), (240, 230, 210), np.uint8)
        frame[np.hypot(y - 32, x - centre) < 12] = (200, 40, 30)
        paths.append(tmp_path / f"key{number}.png")
        Image.fromarray(frame).save(paths[-1])
    return paths


def batch(paths: list[Path]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32) / 255)


def workflow(nodes: dict[str, Any], name: str, folder: Path, **changes: Any) -> dict[str, tuple[Any, ...]]:
    """Run an example workflow; ComfyUI's own nodes are replaced by one-line stubs."""
    own: comfyui_api.Own = {
        "LoadImage": (("IMAGE", "MASK"), lambda image: (batch([folder / image])[0][None], None)),
        "ImageBatch": (("IMAGE",), lambda image1, image2: (torch.cat([image1, image2]),)),
        "SaveImage": ((), lambda images, filename_prefix: (images,)),
    }
    return comfyui_api.follow(nodes, own, PACK / "example_workflows" / name, changes)


def test_schema(nodes: dict[str, Any]) -> None:
    """Saved workflows depend on the schema: a change breaks them."""
    found = {name: comfyui_api.info_of(node) for name, node in nodes.items()}
    assert found == json.loads((HERE / "comfyui_schema.json").read_text())


def test_in_betweens_equal_those_of_the_command(
    nodes: dict[str, Any], keys: list[Path], tmp_path: Path, cli: Cli
) -> None:
    made = workflow(nodes, "in-between.json", tmp_path)["6"][0]
    words = ("--between", "3", "--spacing", "ease", *NAMED)
    result = cli("interpolate", *keys, "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    files = sorted((tmp_path / "out").glob("frame_*.png"))
    assert len(files) == 5
    assert torch.equal(made, batch(files))


def test_transparency_travels_as_a_mask(nodes: dict[str, Any], keys: list[Path]) -> None:
    mask = torch.zeros(2, 64, 96)
    mask[:, :, :8] = 1  # transparent at the left
    (variant,) = comfyui_api.run(nodes["NakawariLoadVariant"], model="mini")
    words = {"between": "1", "spacing": "even", "seed": 0, "parts": True}
    frames, made = comfyui_api.run(nodes["NakawariInBetween"], variant=variant, keys=batch(keys), mask=mask, **words)
    assert frames.shape == (3, 64, 96, 3) and made.shape == (3, 64, 96)
    assert torch.equal(made[[0, 2]], mask)
    assert made[1, :, :6].min() > 0.9 and made[1, :, 12:].max() < 0.1


def test_points_are_led_as_by_the_command(nodes: dict[str, Any], keys: list[Path], tmp_path: Path, cli: Cli) -> None:
    made = workflow(nodes, "lead-points.json", tmp_path)["7"][0]
    words = ("--between", "3", "--model", "framer-tiny", "--track", "30,32 60,32", "--no-parts", *NAMED)
    result = cli("interpolate", *keys, "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    assert torch.equal(made, batch(sorted((tmp_path / "out").glob("frame_*.png"))))


def test_a_sheet_is_drawn_as_by_the_command(nodes: dict[str, Any], keys: list[Path], tmp_path: Path, cli: Cli) -> None:
    for number, key in enumerate(keys, 1):
        (tmp_path / "cut" / "A").mkdir(parents=True, exist_ok=True)
        shutil.copy(key, tmp_path / "cut" / "A" / f"{number}.png")
    path = tmp_path / "cut" / "cut.xdts"
    path.write_text(SHEET, encoding="utf-8")
    made = workflow(
        nodes,
        "time-sheet.json",
        tmp_path,
        NakawariSheetIn={"sheet": str(path), "drawings": str(tmp_path / "cut")},
        NakawariSheetOut={"folder": str(tmp_path / "drawn")},
    )["3"][0]
    assert made == str(tmp_path / "drawn")
    words = ("--drawings", tmp_path / "cut", "-o", tmp_path / "out", "--preview", "none")
    result = cli("cut", path, *words)
    assert result.exit_code == 0, result.stderr
    ours, theirs = (sorted(p.relative_to(f) for p in f.rglob("*.png")) for f in (tmp_path / "drawn", tmp_path / "out"))
    assert ours == theirs and len(ours) > 3
    assert all((tmp_path / "drawn" / p).read_bytes() == (tmp_path / "out" / p).read_bytes() for p in ours)


def test_what_is_wrong_is_one_sentence(nodes: dict[str, Any], keys: list[Path]) -> None:
    from nakawari.errors import NakawariError, UsageError

    with pytest.raises(NakawariError, match="nowhere"):
        comfyui_api.run(nodes["NakawariLoadVariant"], model="nowhere")
    (variant,) = comfyui_api.run(nodes["NakawariLoadVariant"], model="mini")
    words = {"variant": variant, "between": "1", "spacing": "even", "seed": 0, "parts": True}
    with pytest.raises(UsageError, match="two or more keys in one batch, not 1"):
        comfyui_api.run(nodes["NakawariInBetween"], keys=batch(keys)[:1], **words)
    with pytest.raises(UsageError, match="spacing 'fast' is not known"):
        comfyui_api.run(nodes["NakawariInBetween"], keys=batch(keys), **words | {"spacing": "fast"})


def test_an_adapter_is_added_to_the_name(nodes: dict[str, Any], pack: Any, tmp_path: Path) -> None:
    (variant,) = comfyui_api.run(nodes["NakawariLoadVariant"], model="mini:bf16")
    (adapted,) = comfyui_api.run(nodes["NakawariApplyAdapter"], variant=variant, folder=str(tmp_path), scale=0.7)
    assert adapted.name == f"mini+{tmp_path}@0.7:bf16"


def test_comfyui_moves_the_model(pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ComfyUI's model management, the weights are registered there and requested for each call."""
    models = sys.modules.get("comfy_pack.models") or importlib.import_module("comfy_pack.models")
    asked: list[Any] = []
    management = SimpleNamespace(
        get_torch_device=lambda: torch.device("cpu"),
        unet_offload_device=lambda: torch.device("cpu"),
        load_models_gpu=asked.append,
    )

    class Patcher(ModuleType):
        def __init__(self, model: Any, load_device: Any, offload_device: Any) -> None:
            super().__init__("patcher")
            self.model, self.devices = model, (load_device, offload_device)

    monkeypatch.setattr(models, "management", management)
    monkeypatch.setattr(models, "ModelPatcher", Patcher)
    monkeypatch.setattr(models, "_loaded", {})
    first = models.pipeline_of(models.VariantName("mini"))
    assert models.pipeline_of(models.VariantName("mini")) is first
    assert len(asked) == 2 and asked[0] == asked[1]
    held = sum(parameter.numel() for parameter in asked[0][0].model.parameters())
    assert held == sum(
        p.numel() for part in first.components.values() if isinstance(part, torch.nn.Module) for p in part.parameters()
    )


def test_the_manifest_says_no_more_than_is_true() -> None:
    manifest = tomllib.loads((PACK / "pyproject.toml").read_text())
    assert {"name", "version", "description", "license"} <= set(manifest["project"])
    assert manifest["tool"]["comfy"] == {"DisplayName": "nakawari"}  # nothing is published, so nobody publishes it
    text = "".join(path.read_text() for path in PACK.glob("*.py"))
    assert "eval(" not in text and "exec(" not in text and "pip" not in text.replace("pipeline", "")


SHEET = "exchangeDigitalTimeSheet Save Data\n" + json.dumps(
    {
        "version": 5,
        "timeTables": [
            {
                "name": "cut",
                "duration": 8,
                "timeTableHeaders": [{"fieldId": 0, "names": ["A"]}],
                "fields": [
                    {
                        "fieldId": 0,
                        "tracks": [
                            {
                                "trackNo": 0,
                                "frames": [
                                    {"frame": row, "data": [{"id": 0, "values": [value]}]}
                                    for row, value in ((0, "1"), (2, "SYMBOL_TICK_1"), (4, "SYMBOL_TICK_1"), (6, "2"))
                                ],
                            }
                        ],
                    }
                ],
            }
        ],
    }
)
