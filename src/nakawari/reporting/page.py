"""Build the report in memory from the records, and write it, the page last."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..errors import NakawariError, UsageError
from ..evaluation.statistics import RESAMPLES
from ..files import atomic_path, read_json
from . import contents, figures, filmstrips
from . import sheet as contact
from .latex import latex
from .results import Evidence, load_evidence
from .tables import Table, comma_separated, markdown

if TYPE_CHECKING:
    from .drawing import Plot
    from .filmstrips import Strip

TEMPLATES = Path(__file__).parent / "templates"
MARKER = "report.json"
FORMAT = 1

SECTIONS = {
    "quality": "Quality",
    "differences": "Differences",
    "levels": "By difficulty",
    "styles": "By style, motion and origin",
    "cost": "Quality against cost",
    "scales": "Adapter scale",
    "departures": "Departures from the protocol",
}
KINDS = {
    "best": "Best cases",
    "median": "Median cases",
    "worst": "Worst cases",
    "disputed": "Where the models differ most",
}


@dataclass(frozen=True)
class Report:
    """The written report: the page, and all files below the report's folder."""

    page: Path
    files: tuple[Path, ...]


def write_report(results: Sequence[Path], output: Path, *, cases: int = 2, sheet: int = 0) -> Report:
    """Write a report on one or more result folders of one protocol.

    Args:
        results: folders that `nakawari evaluate` wrote; all rows are compared with the first one's reference.
        output: a new or empty folder, or one that holds an earlier report, which is replaced.
        cases: filmstrips of each kind (best, median, worst, most disputed).
        sheet: number of samples with the most motion on a contact sheet, `sheet.png`; 0 = none.

    Raises:
        UsageError: a folder is not a result, protocols differ, or the output folder holds other files.
        NakawariError: a record is broken.
    """
    earlier = _claim(output)
    evidence = load_evidence(results)
    files = build(evidence, cases=cases, sheet=sheet)
    for name, content in files.items():
        with atomic_path(output / name) as temporary:
            temporary.write_bytes(content)
    for name in earlier - files.keys():
        (output / name).unlink(missing_ok=True)
    return Report(output / "index.html", tuple(output / name for name in files))


def _claim(output: Path) -> set[str]:
    """The files of an earlier report in this folder.

    Raises:
        UsageError: it is a file, or the folder holds files and no report.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; give a folder.")
    if not output.is_dir() or not any(output.iterdir()):
        return set()
    marker = output / MARKER
    if not marker.is_file():
        raise UsageError(f"{output} holds files but no report; give a new folder.")
    content = read_json(marker)
    names = content.get("files") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(_inside(name) for name in names):
        raise NakawariError(f"{marker} is not a report's list of files; give a new folder.")
    return set(names)


def _inside(name: Any) -> bool:
    return isinstance(name, str) and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def build(evidence: Evidence, *, cases: int = 2, sheet: int = 0) -> dict[str, bytes]:
    """All files of a report by path, the page last; the same evidence gives the same bytes."""
    tables = contents.all_tables(evidence)
    plots = figures.all_figures(evidence)
    shown = filmstrips.strips(evidence, cases) if cases else []
    metric = evidence.metrics[0].title
    firsts = {strip.kind: strip for strip in reversed(shown)}
    stripes = [filmstrips.strip_figure(firsts[kind], metric) for kind in KINDS if kind in firsts]
    files: dict[str, bytes] = {}
    for table in (table for section in tables.values() for table in section):
        files[f"tables/{table.name}.tex"] = latex(table).encode()
        files[f"tables/{table.name}.csv"] = comma_separated(table).encode()
        files[f"tables/{table.name}.md"] = f"{table.caption}\n\n{markdown(table)}".encode()
    for plot in [*(plot for section in plots.values() for plot in section), *stripes]:
        files |= {f"figures/{plot.name}.{suffix}": data for suffix, data in plot.files.items() if suffix != "svg"}
    if sheet:
        files["sheet.png"] = contact.sheet(evidence, sheet)
    facts = _facts(evidence, tables, plots)
    files["report.md"] = _render("report.md.j2", facts, strips=stripes, markdown=markdown).encode()
    files["index.html"] = _page(evidence, facts, shown).encode()
    names = sorted([*files, MARKER])
    page = files.pop("index.html")
    files[MARKER] = _marker(evidence, names).encode()
    return {**files, "index.html": page}


def _marker(evidence: Evidence, names: Sequence[str]) -> str:
    content = {
        "format": FORMAT,
        "protocol": evidence.protocol.name,
        "reference": evidence.reference,
        "sources": [{"name": source.name, "aggregates_sha256": source.sha256} for source in evidence.sources],
        "files": list(names),
    }
    return json.dumps(content, indent=2) + "\n"


def _facts(evidence: Evidence, tables: Mapping[str, list[Table]], plots: Mapping[str, list[Plot]]) -> dict[str, Any]:
    """The contents shared by the page and the Markdown."""
    protocol = evidence.protocol
    quality = next(row.interval(protocol.name, evidence.metrics[0].name) for row in evidence.rows)
    return {
        "protocol": protocol,
        "settings": [
            (name, _setting(value)) for name, value in protocol.model_dump(mode="json").items() if name != "rows"
        ],
        "count": len(evidence.sample_names),
        "samples_sha256": hashlib.sha256("\n".join(evidence.sample_names).encode()).hexdigest(),
        "levels": {name: len(members) for name, members in evidence.levels.items() if name != "all"},
        "findings": contents.findings(evidence),
        "failed": evidence.failed,
        "metrics": evidence.metrics,
        "rows": evidence.rows,
        "models": evidence.models,
        "reference": evidence.by_name[evidence.reference].label,
        "sections": [
            {"id": key, "title": title, "tables": tables.get(key, []), "plots": plots.get(key, [])}
            for key, title in SECTIONS.items()
            if tables.get(key) or plots.get(key)
        ],
        "sources": evidence.sources,
        "machines": _machines(evidence),
        "percent": f"{100 * quality.level:g}" if quality else "",
        "resamples": f"{RESAMPLES:,}",
        "drawn": _drawn(evidence),
    }


def _drawn(evidence: Evidence) -> str:
    """The resampling unit of the bootstrap, as text."""
    count, films = len(evidence.sample_names), evidence.films
    if films == count:
        return f"the {count:,} samples"
    if films == 1:
        return f"the {count:,} samples of one film, so they say nothing about other films"
    return f"the {films:,} films or clips that the samples were cut from"


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _machines(evidence: Evidence) -> list[str]:
    """The distinct machines that costs were measured on."""
    found = [row.entry.cost.get("machine") or {} for row in evidence.rows if row.entry.cost]
    return list(dict.fromkeys(contents.describe_machine(machine) for machine in found if machine))


def _page(evidence: Evidence, facts: dict[str, Any], shown: Sequence[Strip]) -> str:
    encoded = filmstrips.encode(shown)
    rows = [row.label for row in filmstrips.shown_rows(evidence)]
    candidates = sum(row.entry.role in ("model", "anchor", "peer") for row in evidence.rows)
    ramp = filmstrips.ramp()[::15]
    return _render(
        "report.html.j2",
        facts,
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        groups=[
            (title, [strip for strip in shown if strip.kind == kind])
            for kind, title in KINDS.items()
            if any(strip.kind == kind for strip in shown)
        ],
        picture=lambda picture: _data("image/webp", encoded[id(picture)]),
        svg=lambda plot: _data("image/svg+xml", plot.files["svg"]),
        left_out=candidates - len(rows),
        ramp=[f"#{r:02x}{g:02x}{b:02x}" for r, g, b in ramp],
        scale=filmstrips.SCALE,
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _breakable(name: str) -> Any:
    """A name that may be broken before separators, as HTML."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([+@/])", r"<wbr>\1", str(escape(name))))


def _render(template: str, facts: Mapping[str, Any], **more: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    environment.globals["machine"] = contents.describe_machine
    return environment.get_template(template).render(**facts, **more)
