"""Seeds never change, so that results of earlier versions are reproduced."""

from __future__ import annotations

from nakawari.evaluation.contestants import sample_generator as evaluated
from nakawari.interpolation import seed_of
from nakawari.seeds import seed_from
from nakawari.training.objectives.base import sample_generator as trained


def test_seeds_are_those_of_earlier_versions():
    assert seed_of(0, 1, 2) == seed_from("0/1/2") == 8703209590962626244
    assert trained(0, 7).initial_seed() == 8187087026332891029
    assert evaluated(0, "1/2").initial_seed() == 8703209590962626244
    assert seed_from(b"0/1/2") == seed_from("0/1/2") < 2**63
