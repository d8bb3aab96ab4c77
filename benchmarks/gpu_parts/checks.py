"""Part a: the tests marked `gpu`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from .session import Found, Session

ROOT = Path(__file__).resolve().parents[2]


def run(session: Session) -> None:
    """Each test's outcome by name."""
    session.measure("tests marked gpu", 20, lambda: tests(session.deadline - time.time()))


def tests(limit: float) -> Found:
    """Run pytest, read its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-m", "pytest", "tests/gpu", "-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        if importlib.util.find_spec("xdist"):
            words += ["-n", str(min(4, os.cpu_count() or 1))]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        }
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, timeout=limit, check=False)
        found: Found = {"passed": 0, "failed_tests": 0, "skipped_tests": 0, "exit_code": done.returncode, "tests": {}}
        for case in ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag: child for child in case}
            outcome = (
                "failed" if "failure" in kinds or "error" in kinds else "skipped" if "skipped" in kinds else "passed"
            )
            found["passed" if outcome == "passed" else f"{outcome}_tests"] += 1
            row: Found = {"outcome": outcome, "seconds": float(case.get("time", 0))}
            for child in kinds.values():
                if child.tag in ("failure", "error", "skipped"):
                    row["reason"] = " ".join((child.get("message") or "").split())[:600]
            found["tests"][case.get("name", "")] = row
    return found
