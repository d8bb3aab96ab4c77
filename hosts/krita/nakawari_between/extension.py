"""The menu entry and its action; the command runs in the background, so Krita stays responsive."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from krita import Extension, Krita
from PyQt5.QtCore import QProcess
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QMessageBox

from .keys import key_times, pictures_of, without_empty_ends, write_keys
from .writer import Writer


class Between(Extension):
    """Tools > Scripts > In-betweens."""

    def setup(self):
        """Called by Krita."""
        self._job, self._busy = None, False

    def createActions(self, window):
        """Called by Krita for each window."""
        action = window.createAction("nakawari_between", "In-betweens (nakawari)", "tools/scripts")
        action.triggered.connect(self.start)

    def start(self):
        """Draw the gaps of the active layer, then put the frames onto a new one."""
        if self._busy:
            _tell("In-betweens are being drawn already; wait until they are finished.")
            return
        document = Krita.instance().activeDocument()
        try:
            job = Job(document, document.activeNode()) if document else None
        except ValueError as error:
            _tell(str(error))
            return
        if job is None or len(job.times) < 2:
            _tell("Select a layer with two or more key frames.")
            return
        self._job, self._busy = job, True
        job.run(_tell, self._rest)

    def _rest(self):
        self._busy = False


class Job:
    """The gaps of one layer.

    Args:
        document: an open document.
        node: a paint layer with an animation.

    Raises:
        ValueError: a key frame between others is empty, or the document is not 8-bit RGB.
    """

    def __init__(self, document, node):
        if (document.colorModel(), document.colorDepth()) != ("RGBA", "U8"):
            raise ValueError("The document is not 8-bit RGB; convert it with Image > Convert Image Color Space.")
        self.document, self.node = document, node
        self.pictures = without_empty_ends(pictures_of(document, node, key_times(document, node)))
        self.times = list(self.pictures)
        self.folder = Path(tempfile.mkdtemp(prefix="nakawari-"))
        self.process = None

    def words(self):
        """Arguments of the command: keys are named by frame number, which gives every gap its own count."""
        keys = write_keys(self.pictures, self.folder / "keys")
        output = ["-o", str(self.folder / "frames"), "--format", "png", "--name", "frame_####"]
        return ["interpolate", *map(str, keys), *output, "--start", str(self.times[0])]

    def run(self, tell, finished=lambda: None):
        """Start the command; `tell` gets the message of a failure, `finished` is called at the end."""
        words = os.environ.get(
            "NAKAWARI", "nakawari"
        )  # a program path, which may contain spaces, or a program and arguments
        program, *before = [words] if shutil.which(words) else shlex.split(words, posix=os.name == "posix")
        self.process = QProcess()
        self.process.finished.connect(lambda status, _: self._end(status, tell, finished))
        self.process.errorOccurred.connect(lambda error: self._failed(error, program, tell, finished))
        self.process.start(program, [*before, *self.words()])

    def _failed(self, error, program, tell, finished):
        if error == QProcess.FailedToStart:
            shutil.rmtree(self.folder, ignore_errors=True)
            tell(f"The command {program} was not found; install nakawari, or set the variable NAKAWARI.")
            finished()

    def _end(self, status, tell, finished):
        said = bytes(self.process.readAllStandardError()).decode(errors="replace").splitlines()
        if status:
            shutil.rmtree(self.folder, ignore_errors=True)
            tell(next((line for line in reversed(said) if line.strip()), f"nakawari ended with status {status}."))
            finished()
            return
        frames = {
            self.times[0] + n: path for n, path in enumerate(sorted((self.folder / "frames").glob("frame_*.png")))
        }
        pictures = {time: QImage(str(path)) for time, path in frames.items()}
        shutil.rmtree(self.folder, ignore_errors=True)
        self.writer = Writer(self.document, self.node, pictures, tell, finished)
        self.writer.begin()


def _tell(sentence):
    QMessageBox.information(Krita.instance().activeWindow().qwindow(), "nakawari", sentence)
