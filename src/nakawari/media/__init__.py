"""Frames in and out: images, sequences, video, GIF, contact sheets.

Frames are uint8 outside the models: one is (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha.
"""

from .overlay import overlay_tracks
from .read import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video, iter_video, list_images, read_frames, read_image
from .sheet import contact_sheet
from .tensors import to_tensor, to_uint8
from .write import flatten, write_gif, write_image, write_sequence, write_video

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "contact_sheet",
    "flatten",
    "is_video",
    "iter_video",
    "list_images",
    "overlay_tracks",
    "read_frames",
    "read_image",
    "to_tensor",
    "to_uint8",
    "write_gif",
    "write_image",
    "write_sequence",
    "write_video",
]
