"""The Krita plug-in, run in Krita on a virtual display."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HOSTS = Path(__file__).parents[2] / "hosts"
KRITA = shutil.which("krita")
pytestmark = pytest.mark.skipif(KRITA is None, reason="Krita is not installed")


@pytest.mark.slow
def test_frames_land_on_the_right_numbers(screen: str, tmp_path: Path, around: dict[str, str]) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    plugins = home / ".local" / "share" / "krita" / "pykrita"
    for folder in (HOSTS / "krita", Path(__file__).parent / "krita_test"):
        shutil.copytree(folder, plugins, dirs_exist_ok=True)
    for folder in (out, home / ".config", tmp_path / "run"):
        folder.mkdir(parents=True)
    enabled = "".join(f"enable_nakawari_{name}=true\n" for name in ("between", "test"))
    (home / ".config" / "kritarc").write_text(f"[python]\n{enabled}")
    around |= {"HOME": str(home), "DISPLAY": screen, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    around["NAKAWARI_TEST"] = str(out)
    subprocess.run([KRITA, "--nosplash"], env=around, capture_output=True, check=False, timeout=400)
    found = json.loads((out / "found.json").read_text())
    assert "error" not in found, found["error"]
    assert found["said"] == []
    assert found["keys"] == [2, 8, 14]
    (new,) = [name for name in found["stand"] if name != "keys"]
    assert found["stand"]["keys"] == [0, 2, 8, 14]  # Krita's own empty key on frame 0 is no drawing
    assert found["stand"][new] == [0, *range(2, 15)]
    assert found["ticks"] > 10  # Krita went on while the command drew
    centres = [centre_of(out / f"shown_{time:04d}.png") for time in range(2, 15)]
    assert centres == sorted(centres) and len(set(centres)) == 13
    assert [centres[0], centres[6], centres[12]] == pytest.approx([29.5, 79.5, 149.5], abs=1)


def centre_of(path: Path) -> float:
    """Horizontal position of the red square."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return float(np.nonzero((pixels[..., 0] - pixels[..., 1]) > 100)[1].mean())
