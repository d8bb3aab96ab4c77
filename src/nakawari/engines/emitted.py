"""Job files for render farms. They are only written, never run by the authors: they are untested."""

from __future__ import annotations

from ..files import write_text
from . import Job, Watch, Wish

_UNTESTED = "Written by nakawari, never run by its authors: try it on a few cuts first."


def opencue(job: Job, wish: Wish, watch: Watch) -> str:
    """Write a script for OpenCue's PyOutline: one layer, with the numbers of the pieces as its frames."""
    path, last = job.folder / "opencue.py", job.pieces - 1
    command = ["nakawari", *job.words, job.numbered, "#IFRAME#"]
    write_text(
        path,
        f"# {_UNTESTED}\n"
        "import outline\nimport outline.cuerun\nimport outline.modules.shell\n\n"
        f'job = outline.Outline("nakawari", frame_range="0-{last}")\n'
        f'job.add_layer(outline.modules.shell.Shell("draw", command={command}, chunk={wish.chunk}, range="0-{last}"))\n'
        "outline.cuerun.launch(job, use_pycuerun=False)\n",
    )
    return f"wrote {path}, which is untested"


def deadline(job: Job, wish: Wish, watch: Watch) -> str:
    """Write the two files that `deadlinecommand` takes for a job of its plug-in CommandLine."""
    info, plugin = job.folder / "deadline-job.txt", job.folder / "deadline-plugin.txt"
    write_text(
        info,
        f"Plugin=CommandLine\nName=nakawari {job.name}\nComment={_UNTESTED}\n"
        f"Frames=0-{job.pieces - 1}\nChunkSize={wish.chunk}\nOutputDirectory0={job.folder.resolve()}\n",
    )
    words = " ".join(f'"{word}"' if "/" in word or " " in word else word for word in job.words)
    arguments = f"{words} {job.numbered} <STARTFRAME>-<ENDFRAME>"
    write_text(plugin, f"Executable=nakawari\nArguments={arguments}\nShellExecute=False\n")
    return f"wrote {info} and {plugin}, which are untested"
