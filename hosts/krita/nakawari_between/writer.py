"""Pictures onto a new layer, a key frame for each.

Krita's own `Document.importAnimation` does not serve: Krita 5.1 crashes at the second call in a session.
"""

from __future__ import annotations

from krita import Krita
from PyQt5.QtCore import QTimer

from .keys import bytes_of

NAME = "In-betweens"
_PAUSE = 20  # milliseconds between two steps, in which Krita goes on


class Writer:
    """Writes one frame after the other, so that Krita never stands still.

    Args:
        document: an open document in RGB with 8 bits.
        below: the layer above which the new one comes.
        pictures: by frame number.
        tell: gets a sentence where it fails.
        finished: called at the end.
    """

    def __init__(self, document, below, pictures, tell, finished):
        self.document, self.below, self.pictures = document, below, pictures
        self.tell, self.finished = tell, finished
        self.left = list(pictures)
        self.layer = None

    def begin(self):
        """Make the layer; the first frame comes later."""
        self.layer = self.document.createNode(NAME, "paintlayer")
        self.below.parentNode().addChildNode(self.layer, self.below)
        self.document.waitForDone()
        self.layer.enableAnimation()
        self._later(self._next)

    def _later(self, step):
        QTimer.singleShot(_PAUSE, step)

    def _next(self):
        """Make the next key frame. The action works on what is active, so it waits while another document is."""
        if Krita.instance().activeDocument() != self.document:
            self._later(self._next)
            return
        if not self.left:
            self._end()
            return
        self.document.setActiveNode(self.layer)
        self.document.setCurrentTime(self.left[0])
        self.document.waitForDone()
        Krita.instance().action("add_blank_frame").trigger()
        self.document.waitForDone()
        self._later(self._fill)

    def _fill(self):
        """Put the picture into the key frame, if the action has made it."""
        time = self.left[0]
        if not self.layer.hasKeyframeAtTime(time) or self.document.currentTime() != time:
            self.tell(f"Krita made no key frame at {time}; is the layer locked, or does the animation play?")
            self.finished()
            return
        picture = self.pictures[self.left.pop(0)]
        self.layer.setPixelData(bytes_of(picture), 0, 0, picture.width(), picture.height())
        self.document.waitForDone()
        self._later(self._next)

    def _end(self):
        self.document.setCurrentTime(min(self.pictures))
        self.document.refreshProjection()
        self.finished()
