"""Blender add-on: in-betweens of key drawings as an image strip in the video sequencer.

Calls the command `nakawari`, which runs in its own Python; Blender's Python needs no packages. Sequencer > Add >
In-betweens.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import bpy

bl_info = {
    "name": "nakawari: in-betweens",
    "author": "nakawari",
    "version": (1, 0, 0),
    "blender": (3, 4, 0),
    "location": "Video Sequencer > Add > In-betweens",
    "description": "Draws the frames between key drawings and adds them as an image strip",
    "category": "Sequencer",
}

PICTURES = "*.png;*.jpg;*.jpeg;*.tif;*.tiff;*.webp;*.exr"
_POLL = 0.25  # polling interval in seconds


def command_of(words: str) -> list[str]:
    """The command as a list: a program path, which may contain spaces, or a program and arguments; the variable
    NAKAWARI replaces the default."""
    words = words or os.environ.get("NAKAWARI", "nakawari")
    return [words] if shutil.which(words) else shlex.split(words, posix=os.name == "posix")


class NAKAWARI_OT_between(bpy.types.Operator):
    """Draw the frames between key drawings, and add them as an image strip"""

    bl_idname = "sequencer.nakawari_between"
    bl_label = "In-betweens"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender's type)

    directory: bpy.props.StringProperty(subtype="DIR_PATH")
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement)
    filter_glob: bpy.props.StringProperty(default=PICTURES, options={"HIDDEN"})
    output: bpy.props.StringProperty(name="Output", description="A folder for the frames", subtype="DIR_PATH")
    between: bpy.props.IntProperty(name="In-betweens per gap", default=3, min=0, max=64)
    model: bpy.props.StringProperty(name="Model", default="mini")
    exposure: bpy.props.IntProperty(name="Exposure", description="Frames per drawing", default=1, min=1)
    command: bpy.props.StringProperty(name="Command", description="Empty: nakawari")

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        keys = [str(Path(self.directory) / one.name) for one in self.files if one.name] or [self.directory]
        self._output = Path(bpy.path.abspath(self.output) or tempfile.mkdtemp(prefix="nakawari-"))
        words = ["interpolate", *keys, "-o", str(self._output), "--between", str(self.between), "--model", self.model]
        words += ["--exposure", str(self.exposure), "--format", "png", "--copies", "--name", "frame_####"]
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read when the command has ended)
        try:
            self._process = subprocess.Popen(
                [*command_of(self.command), *words], stdout=subprocess.DEVNULL, stderr=self._said, text=True
            )
        except FileNotFoundError as error:
            self.report({"ERROR"}, f"The command {error.filename} was not found; install nakawari, or set its path.")
            return {"CANCELLED"}
        if bpy.app.background:
            self._process.wait()
            return self._finish(context)
        # The window stays responsive: a timer polls the command.
        self._timer = context.window_manager.event_timer_add(_POLL, window=context.window)
        context.window_manager.modal_handler_add(self)
        context.workspace.status_text_set("nakawari is drawing; Esc stops it")
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type == "ESC":
            self._process.terminate()
        if event.type != "TIMER" or self._process.poll() is None:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)
        return self._finish(context)

    def _finish(self, context):
        self._said.seek(0)
        said = [line.strip() for line in self._said.read().splitlines() if line.strip()]
        self._said.close()
        if self._process.returncode:
            self.report({"ERROR"}, said[-1] if said else f"nakawari ended with status {self._process.returncode}.")
            return {"CANCELLED"}
        add_strip(context.scene, self._output)
        return {"FINISHED"}


def add_strip(scene, folder: Path):
    """Add the frames of a folder as one image strip, at the playhead, on a free channel."""
    frames = sorted(path.name for path in folder.glob("frame_*.png") if re.fullmatch(r"frame_\d+", path.stem))
    editor = scene.sequence_editor or scene.sequence_editor_create()
    # The collection was renamed in Blender 4.4.
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    channel = max((strip.channel for strip in strips), default=0) + 1
    strip = strips.new_image("in-betweens", str(folder / frames[0]), channel, scene.frame_current)
    for name in frames[1:]:
        strip.elements.append(name)
    strip.frame_final_duration = len(frames)
    return strip


def _menu(self, context):
    self.layout.operator(NAKAWARI_OT_between.bl_idname, icon="SEQUENCE")


def register():
    """Called by Blender."""
    bpy.utils.register_class(NAKAWARI_OT_between)
    bpy.types.SEQUENCER_MT_add.append(_menu)


def unregister():
    """Called by Blender."""
    bpy.types.SEQUENCER_MT_add.remove(_menu)
    bpy.utils.unregister_class(NAKAWARI_OT_between)
