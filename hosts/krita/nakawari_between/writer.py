"""Write images to a new layer, one key frame each.

Krita's `Document.importAnimation` is not used: Krita 5.1 crashes at the second call in a session.
"""

from __future__ import annotations

from krita import Krita
from PyQt5.QtCore import QTimer

from .keys import bytes_of

NAME = "In-betweens"
_PAUSE = 20  # milliseconds between two steps, for Krita's event loop


class Writer:
    """Writes one frame per step, so that Krita stays responsive.

    Args:
        document: an open 8-bit RGB document.
        below: the layer below the new one.
        pictures: frame number -> image.
        tell: called with the message of a failure.
        finished: called at the end.
    """

    def __init__(self, document, below, pictures, tell, finished):
        self.document, self.below, self.pictures = document, below, pictures
        self.tell, self.finished = tell, finished
        self.left = list(pictures)
        self.layer = None

    def begin(self):
        """Create the layer; the first frame follows later."""
        self.layer = self.document.createNode(NAME, "paintlayer")
        self.below.parentNode().addChildNode(self.layer, self.below)
        self.document.waitForDone()
        self.layer.enableAnimation()
        self._later(self._next)

    def _later(self, step):
        QTimer.singleShot(_PAUSE, step)

    def _next(self):
        """Create the next key frame. The action works on the active document, so it waits while another one is
        active."""
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
        """Put the image into the key frame, if the action has created it."""
        time = self.left[0]
        if not self.layer.hasKeyframeAtTime(time) or self.document.currentTime() != time:
            self.tell(f"Krita did not create a key frame at {time}; unlock the layer, stop playback and try again.")
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
