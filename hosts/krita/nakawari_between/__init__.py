"""Krita plug-in: draws the in-betweens of the active layer's key frames with the command `nakawari`."""

from krita import Krita

from .extension import Between

Krita.instance().addExtension(Between(Krita.instance()))
