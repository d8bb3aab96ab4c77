"""Runs inside Blender with a window: a timer counts while the operator draws; then strip and window are kept."""

import json
import os
import sys
from pathlib import Path

import bpy

sys.path.insert(0, os.environ["HOST"])
import nakawari_between

OUT = os.environ["OUT"]
FILES = [{"name": "a.png"}, {"name": "b.png"}]
_STEP, _MOST = 0.05, 6000
found = {"ticks": 0}


def sequencer():
    """The largest area as a sequencer with preview: the context of the operator."""
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda one: one.width * one.height)
    area.type = "SEQUENCE_EDITOR"
    region = next(one for one in area.regions if one.type == "WINDOW")
    return bpy.context.temp_override(window=window, area=area, region=region)


def begin():
    """Start the operator, which returns immediately."""
    scene = bpy.context.scene
    scene.frame_current, scene.render.resolution_x, scene.render.resolution_y = 7, 96, 64
    with sequencer():
        call = bpy.ops.sequencer.nakawari_between
        found["result"] = list(call(directory=os.environ["KEYS"], output=f"{OUT}/frames", between=3, files=FILES))
    bpy.app.timers.register(tick, first_interval=_STEP)


def tick():
    """Counts while the command runs, which a frozen program would not."""
    found["ticks"] += 1
    editor = bpy.context.scene.sequence_editor
    if editor is None or not editor.sequences_all:
        return _STEP if found["ticks"] < _MOST else os._exit(4)
    (strip,) = editor.sequences_all
    names = [one.filename for one in strip.elements]
    found["strip"] = [strip.type, strip.frame_start, strip.frame_final_duration, names]
    with sequencer():
        bpy.context.space_data.view_type = "SEQUENCER_PREVIEW"
        bpy.context.scene.frame_current = 9
    bpy.app.timers.register(picture, first_interval=2)
    return None


def picture():
    """A screenshot of the window."""
    with sequencer():
        bpy.ops.sequencer.view_selected()
        bpy.ops.screen.screenshot(filepath=f"{OUT}/window.png")
    Path(OUT, "found.json").write_text(json.dumps(found))
    os._exit(0)


bpy.context.preferences.view.show_splash = False
nakawari_between.register()
bpy.app.timers.register(begin, first_interval=1)
