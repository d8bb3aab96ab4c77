"""Part a: the tests marked `gpu`, each outcome sent as soon as it is known."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .session import Found, Session

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 40
"""Timeout of one test in seconds."""


def run(session: Session) -> None:
    """Run the tests in this process, which has the imports already."""
    os.chdir(ROOT)
    words = ["tests/gpu", "-o", "addopts=", "-m", "gpu", "-v", "-s", "-rfE", "--tb=line", "-p", "no:cacheprovider"]
    code = pytest.main([*words, "-p", "no:xdist", "-p", "no:benchmark"], plugins=[Outcomes(session)])
    session.send("tests: exit code", {"exit_code": int(code)})


class Outcomes:
    """A pytest plugin: limits each test to `longest` seconds, and sends its outcome."""

    def __init__(self, session: Session, longest: int = LONGEST) -> None:
        self._session, self._longest = session, longest
        self.found: Found = {"passed": 0, "failed_tests": 0, "skipped_tests": 0, "tests": {}}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test with setup and teardown."""
        left = self._session.deadline - time.time()
        if left < 2:
            pytest.exit(f"no time left for {item.name} and those after it")
        limit = max(1, int(min(left - 1, self._longest)))

        def give_up(*_: Any) -> None:
            pytest.fail(f"given up after {limit} s")

        before = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(limit)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The outcome of one phase of a test; a failure of any phase fails the test."""
        name = report.nodeid.rpartition("::")[2]
        row = self.found["tests"].setdefault(name, {"outcome": "passed", "seconds": 0.0})
        row["seconds"] = round(row["seconds"] + report.duration, 2)
        if report.outcome != "passed":
            row |= {"outcome": report.outcome, "reason": reason(report)}
        if report.when == "teardown":
            key = "passed" if row["outcome"] == "passed" else f"{row['outcome']}_tests"
            self.found[key] += 1
            self._session.send("tests marked gpu", self.found)
            sys.stdout.flush()


def reason(report: pytest.TestReport) -> str:
    """Why a test failed or was skipped: the end of pytest's report, on one line."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(said.split())[-1500:]
