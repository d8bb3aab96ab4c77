"""The nodes: each reads its inputs, calls nakawari, and returns the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import ComfyExtension, io

from .models import VariantName, pipeline_of

CATEGORY = "nakawari"
Variant = io.Custom("NAKAWARI_VARIANT")
Tracks = io.Custom("NAKAWARI_TRACKS")
Sheet = io.Custom("NAKAWARI_SHEET")


class LoadVariant(io.ComfyNode):
    """A model by its name; its weights are loaded when something is drawn."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariLoadVariant",
            display_name="Load variant (nakawari)",
            category=CATEGORY,
            description="mini, or a model's folder; +ADAPTER@SCALE and :PRECISION may follow.",
            inputs=[io.String.Input("model", default="mini")],
            outputs=[Variant.Output(display_name="variant")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        from nakawari.variants import check_name

        check_name(model)
        return io.NodeOutput(VariantName(model))


class ApplyAdapter(io.ComfyNode):
    """An adapter on a variant."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariApplyAdapter",
            display_name="Apply adapter (nakawari)",
            category=CATEGORY,
            description="A LoRA from nakawari adapt, with a scale.",
            inputs=[
                Variant.Input("variant"),
                io.String.Input("folder", default=""),
                io.Float.Input("scale", default=1.0, min=0.0, max=4.0, step=0.05),
            ],
            outputs=[Variant.Output(display_name="variant")],
        )

    @classmethod
    def execute(cls, variant: VariantName, folder: str, scale: float) -> io.NodeOutput:
        from nakawari.variants import check_name, with_adapters

        name = with_adapters(variant.name, [f"{folder}@{scale:g}"])
        check_name(name)
        return io.NodeOutput(VariantName(name))


class LeadPoints(io.ComfyNode):
    """Point tracks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariLeadPoints",
            display_name="Lead points (nakawari)",
            category=CATEGORY,
            description='One track per line, in pixels: "x,y x,y"; with several gaps, after the gap: "2: x,y x,y".',
            inputs=[io.String.Input("tracks", default="", multiline=True)],
            outputs=[Tracks.Output(display_name="tracks")],
        )

    @classmethod
    def execute(cls, tracks: str) -> io.NodeOutput:
        return io.NodeOutput(tracks)


class InBetween(io.ComfyNode):
    """Draws the frames between keys."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariInBetween",
            display_name="In-between (nakawari)",
            category=CATEGORY,
            description="The keys of a batch in order, with the frames between them.",
            inputs=[
                Variant.Input("variant"),
                io.Image.Input("keys"),
                io.String.Input("between", default="3", tooltip="One count, or one for each gap: 3,7,5."),
                io.String.Input(
                    "spacing", default="even", multiline=True, tooltip="even, ease-in, ease-out, ease, or 0.1,0.3,0.7."
                ),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1),
                io.Boolean.Input("parts", default=True, tooltip="Draw flat-coloured drawings part by part."),
                io.Mask.Input("mask", optional=True),
                Tracks.Input("tracks", optional=True),
            ],
            outputs=[io.Image.Output(display_name="frames"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(
        cls,
        variant: VariantName,
        keys: Any,
        between: str,
        spacing: str,
        seed: int,
        parts: bool,
        mask: Any = None,
        tracks: str | None = None,
    ) -> io.NodeOutput:
        from . import drawing

        made = drawing.between(
            lambda: pipeline_of(variant), drawing.keys_of(keys, mask), between, spacing, seed, tracks or "", parts
        )
        return io.NodeOutput(*made)


class SheetIn(io.ComfyNode):
    """A time sheet and the folder of its drawings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariSheetIn",
            display_name="Time sheet in (nakawari)",
            category=CATEGORY,
            description="An .xdts or .csv sheet, and the folder with LEVEL/NAME.png.",
            inputs=[io.String.Input("sheet", default=""), io.String.Input("drawings", default="")],
            outputs=[Sheet.Output(display_name="sheet")],
        )

    @classmethod
    def execute(cls, sheet: str, drawings: str) -> io.NodeOutput:
        from nakawari.cut.files import read_sheet
        from nakawari.cut.filling import Naming
        from nakawari.cut.plan import cut_of

        return io.NodeOutput(cut_of(Path(sheet), read_sheet(Path(sheet)), Path(drawings), Naming.beside))


class SheetOut(io.ComfyNode):
    """Draws the missing drawings of a sheet, and writes drawings and sheet into a folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NakawariSheetOut",
            display_name="Time sheet out (nakawari)",
            category=CATEGORY,
            description="Draws every missing drawing of a cut once; the folder holds levels, sheet and contact sheets.",
            inputs=[
                Variant.Input("variant"),
                Sheet.Input("sheet"),
                io.String.Input("folder", default=""),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1),
            ],
            outputs=[io.String.Output(display_name="folder")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, variant: VariantName, sheet: Any, folder: str, seed: int) -> io.NodeOutput:
        from nakawari.cut.plan import Target
        from nakawari.cut.work import draw_cut
        from nakawari.interpolation import Settings
        from nakawari.variants import fingerprint

        target = Target(Path(folder), None, (), False)
        target.check(sheet)
        print_of_model = fingerprint(variant.name) if sheet.missing else ""
        draw_cut(sheet, target, Settings((), seed=seed), variant.name, print_of_model, lambda: pipeline_of(variant))
        return io.NodeOutput(folder)


class Nakawari(ComfyExtension):
    """The node pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadVariant, ApplyAdapter, LeadPoints, InBetween, SheetIn, SheetOut]


async def comfy_entrypoint() -> ComfyExtension:
    """Called by ComfyUI."""
    return Nakawari()
