"""Krita plug-in: draws the frames between the key frames of the active layer with the command `nakawari`."""

from krita import Krita

from .extension import Between

Krita.instance().addExtension(Between(Krita.instance()))
