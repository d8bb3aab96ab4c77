"""Runs inside Krita: makes a layer of three key frames, draws its gaps with the plug-in, and records the result."""

import json
import os
import traceback
from pathlib import Path

from krita import Extension, Krita
from nakawari_between.extension import Between, Job
from nakawari_between.keys import picture_of
from nakawari_between.writer import Writer
from PyQt5.QtCore import QEventLoop, QTimer
from PyQt5.QtGui import QColor, QImage, QPainter

WIDTH, HEIGHT = 192, 128
KEYS = {2: 30, 8: 80, 14: 150}
FOLDER = Path(os.environ["NAKAWARI_TEST"])


def drawn(centre):
    """A red square on paper."""
    picture = QImage(WIDTH, HEIGHT, QImage.Format_ARGB32)
    picture.fill(QColor(240, 230, 210))
    painter = QPainter(picture)
    painter.fillRect(centre - 20, 44, 40, 40, QColor(200, 40, 30))
    painter.end()
    return picture


def settle(milliseconds):
    """Let Krita process pending events."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec_()


class Test(Extension):
    """Starts when the first window exists."""

    def setup(self):
        """Called by Krita."""

    def createActions(self, window):
        """Called by Krita."""
        self.ticks, self.said = 0, []
        QTimer.singleShot(2000, self.begin)

    def begin(self):
        """Make the layer and start the plug-in's job."""
        try:
            app = Krita.instance()
            app.setBatchmode(True)
            document = app.createDocument(WIDTH, HEIGHT, "test", "RGBA", "U8", "", 72.0)
            app.activeWindow().addView(document)
            document.setFramesPerSecond(24)
            document.setFullClipRangeStartTime(0)
            document.setFullClipRangeEndTime(16)
            settle(1000)
            (ground,) = document.topLevelNodes()
            pictures = {time: drawn(centre) for time, centre in KEYS.items()}
            self.document, self.source = document, Writer(document, ground, pictures, self.said.append, self.draw)
            self.source.begin()
        except Exception:
            self.write(error=traceback.format_exc())

    def draw(self):
        """The layer of keys is there: draw its gaps."""
        try:
            document, node = self.document, self.source.layer
            node.setName("keys")
            self.job = Job(document, node)
            self.timer = QTimer()
            self.timer.timeout.connect(self.tick)
            self.timer.start(20)
            self.job.run(self.said.append, self.end)
        except Exception:
            self.write(error=traceback.format_exc())

    def tick(self):
        """Counts while the command runs, which a frozen program would not."""
        self.ticks += 1

    def end(self):
        """Record the frames' times and content."""
        try:
            self.document.waitForDone()
            layers = {node.name(): node for node in self.document.topLevelNodes() if node.animated()}
            stand = {name: [t for t in range(20) if node.hasKeyframeAtTime(t)] for name, node in layers.items()}
            new = next(node for name, node in layers.items() if name != "keys")
            for time in stand[new.name()]:
                self.document.setCurrentTime(time)
                self.document.waitForDone()
                picture_of(self.document, new).save(str(FOLDER / f"shown_{time:04d}.png"))
            self.found = {"keys": self.job.times, "stand": stand, "ticks": self.ticks, "said": self.said}
            window = Krita.instance().activeWindow().qwindow()
            window.resize(1280, 820)
            for docker in Krita.instance().dockers():
                if docker.objectName() == "TimelineDocker":
                    docker.setVisible(True)
                    docker.raise_()
            self.document.setCurrentTime(4)
            QTimer.singleShot(3000, self.picture)
        except Exception:
            self.write(error=traceback.format_exc())

    def picture(self):
        """A screenshot of the window."""
        Krita.instance().activeWindow().qwindow().grab().save(str(FOLDER / "window.png"))
        self.write(**self.found)

    def write(self, **found):
        """Write the results and close Krita."""
        (FOLDER / "found.json").write_text(json.dumps(found))
        os._exit(0)


assert Between  # the plug-in's own menu entry loads
Krita.instance().addExtension(Test(Krita.instance()))
