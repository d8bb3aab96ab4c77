"""Reading and writing of frames: images, sequences, video, GIF, contact sheets.

Frames are uint8 outside the models: (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha. `Picture` is a frame
with the metadata of its file.
"""

from .colour import is_srgb, pixels_to_srgb
from .formats import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    is_clip,
    is_image,
    is_unreadable_drawing,
    is_video,
    list_images,
    natural_key,
    pair_role,
    refuse_unreadable,
)
from .layers import LAYERED, file_of, layer_names
from .overlay import overlay_tracks
from .picture import Picture, read_picture, read_pictures
from .read import flatten, iter_frames, read_frames, read_image, read_rgb
from .sheet import contact_sheet
from .tensors import to_tensor, to_uint8
from .video import VideoTrack, encoded, frame_rate, iter_video, open_mov, open_video, pixels_of, read_track, set_prores
from .write import write_gif, write_image, write_mov, write_sequence, write_video

__all__ = [
    "IMAGE_SUFFIXES",
    "LAYERED",
    "VIDEO_SUFFIXES",
    "Picture",
    "VideoTrack",
    "contact_sheet",
    "encoded",
    "file_of",
    "flatten",
    "frame_rate",
    "is_clip",
    "is_image",
    "is_srgb",
    "is_unreadable_drawing",
    "is_video",
    "iter_frames",
    "iter_video",
    "layer_names",
    "list_images",
    "natural_key",
    "open_mov",
    "open_video",
    "overlay_tracks",
    "pair_role",
    "pixels_of",
    "pixels_to_srgb",
    "read_frames",
    "read_image",
    "read_picture",
    "read_pictures",
    "read_rgb",
    "read_track",
    "refuse_unreadable",
    "set_prores",
    "to_tensor",
    "to_uint8",
    "write_gif",
    "write_image",
    "write_mov",
    "write_sequence",
    "write_video",
]
