"""Footage, a video or a folder of frames: find held drawings and cuts, and draw in-betweens between its drawings."""
