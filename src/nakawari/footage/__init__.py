"""Footage: a video or a folder of frames, its held drawings and cuts found, in-betweens drawn between its drawings."""
