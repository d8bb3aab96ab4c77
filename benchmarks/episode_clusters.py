"""Clusters of two nodes on this machine, of Ray and of Slurm, for `episode_chaos.py`."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil


class Node:
    """A program that represents a machine, with its child processes."""

    def __init__(self, *words: str, **variables: str) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(words, env=os.environ | variables, stdout=quiet, stderr=quiet)
        self.killed = False

    def kill(self) -> None:
        """Kill all of its processes and set `killed`."""
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self.process.pid)
            tree = [*own.children(recursive=True), own]
            for process in tree:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.killed = bool(psutil.wait_procs(tree, timeout=10)[0])
        self.process.wait()


@contextlib.contextmanager
def ray_cluster(place: Path, variables: dict[str, str]) -> Iterator[tuple[dict[str, str], list[Node]]]:
    """Two nodes of one core each, with environment variables; yields the variables of clients, and the nodes,
    the head first."""
    address = "127.0.0.1:6399"
    own = variables | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    start = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus", "1"]
    start += ["--object-store-memory", "80000000", "--block"]
    head = ["--head", "--port", "6399", "--include-dashboard=false", "--temp-dir", str(place)]
    nodes = [Node(*start, *head, **own)]
    try:
        wait_for(address)
        nodes.append(Node(*start, "--address", address, **own))
        yield own | {"RAY_ADDRESS": address}, nodes
    finally:
        for node in reversed(nodes):
            node.kill()


SLURM = """ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort=16817
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/%n
SlurmctldPidFile={place}/controller.pid
SlurmdPidFile={place}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=16821 CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=16822 CPUs=1
PartitionName=all Nodes=ALL Default=YES State=UP
"""
"""Two nodes of one core each on this machine, for Debian's slurm-wlm; its ports must not be reachable from outside."""


@contextlib.contextmanager
def slurm_cluster(place: Path) -> Iterator[str]:
    """A controller and two nodes; needs root; yields the path of their configuration."""
    path, user = place / "slurm.conf", getpass.getuser()
    path.write_text(SLURM.format(host=socket.gethostname(), user=user, place=place), encoding="utf-8")
    for name in ("state", "n1", "n2"):
        (place / name).mkdir()
    words = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    nodes = [Node(*one, SLURM_CONF=str(path)) for one in words]
    try:
        wait_for("127.0.0.1:16817")
        yield str(path)
    finally:
        for node in reversed(nodes):
            node.kill()


def wait_for(address: str, seconds: float = 120) -> None:
    """Wait until the address accepts connections."""
    host, _, port = address.partition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
