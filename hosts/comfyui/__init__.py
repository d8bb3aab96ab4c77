"""nakawari in ComfyUI: a node pack with the V3 schema. ComfyUI calls `comfy_entrypoint`."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
