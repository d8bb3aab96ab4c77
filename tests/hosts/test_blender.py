"""The Blender add-on, run headless in Blender itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HOSTS = Path(__file__).parents[2] / "hosts"
BLENDER = shutil.which("blender")
FRAMES = [f"frame_{number:04d}.png" for number in range(1, 6)]
pytestmark = pytest.mark.skipif(BLENDER is None, reason="Blender is not installed")

SCRIPT = """
import json, os, sys
sys.path.insert(0, os.environ["HOST"])
import bpy, nakawari_between
nakawari_between.register()
folder = os.environ["KEYS"]
call = dict(directory=folder, output=os.environ["OUT"], between=3)
bpy.context.scene.frame_current = 7
found = {"result": list(bpy.ops.sequencer.nakawari_between(files=[{"name": "a.png"}, {"name": "b.png"}], **call))}
(strip,) = bpy.context.scene.sequence_editor.sequences_all
found["strip"] = [strip.type, strip.frame_start, strip.frame_final_duration, [e.filename for e in strip.elements]]
try:
    bpy.ops.sequencer.nakawari_between(files=[{"name": "a.png"}, {"name": "gone.png"}], **call)
except RuntimeError as error:
    found["error"] = str(error)
nakawari_between.unregister()
print("FOUND" + json.dumps(found))
"""


def keys(folder: Path) -> None:
    """Two drawings, a.png and b.png."""
    y, x = np.mgrid[:64, :96]
    for name, centre in (("a", 20), ("b", 60)):
        frame = np.full((64, 96, 3), (240, 230, 210), np.uint8)
        frame[np.hypot(y - 32, x - centre) < 12] = (200, 40, 30)
        Image.fromarray(frame).save(folder / f"{name}.png")


def test_a_headless_run_makes_the_sequence(tmp_path: Path, around: dict[str, str]) -> None:
    keys(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    around |= {"HOST": str(HOSTS / "blender"), "KEYS": str(tmp_path), "OUT": str(tmp_path / "out")}
    done = subprocess.run(
        [BLENDER, "-b", "--factory-startup", "--python-exit-code", "3", "--python", str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        env=around,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[5:])
    assert found["result"] == ["FINISHED"]
    assert found["strip"] == ["IMAGE", 7.0, 5, FRAMES]
    assert all((tmp_path / "out" / name).is_file() for name in FRAMES)
    assert "gone.png does not exist" in found["error"]


@pytest.mark.slow
def test_the_window_stays_alive_while_it_draws(tmp_path: Path, around: dict[str, str], screen: str) -> None:
    keys(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    around |= {"HOST": str(HOSTS / "blender"), "KEYS": str(tmp_path), "OUT": str(out)}
    around |= {"DISPLAY": screen, "HOME": str(tmp_path), "LIBGL_ALWAYS_SOFTWARE": "1"}
    script = Path(__file__).parent / "blender_test" / "in_a_window.py"
    words = [BLENDER, "--factory-startup", "--window-geometry", "0", "0", "1280", "800", "--python", str(script)]
    done = subprocess.run(words, capture_output=True, text=True, env=around, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "found.json").read_text())
    assert found["result"] == ["RUNNING_MODAL"]
    assert found["ticks"] > 10  # Blender went on while the command drew
    assert found["strip"] == ["IMAGE", 7.0, 5, FRAMES]
