"""Settings that fit a pipeline's call."""

from __future__ import annotations

import pytest

from nakawari.errors import UsageError
from nakawari.families.abilities import Abilities
from nakawari.families.calling import settings_for
from tiny_framer import tiny
from tiny_models import mini_model, plain_model, towered_model


class Few(Abilities):
    def __call__(self, steps: int, guidance: float = 1.0) -> None: ...


def test_settings_that_a_pipeline_lacks_are_refused_or_left_out():
    wanted = {"steps": 3, "guidance": None, "guided": False}
    assert settings_for(Few(), wanted, "The test") == {"steps": 3}
    with pytest.raises(UsageError, match=r"^The test sets eta, which Few does not have; leave it out\.$"):
        settings_for(Few(), wanted | {"eta": 0.5}, "The test")
    assert settings_for(Few(), wanted | {"eta": 0.0}, "The test", ("guided", "eta")) == {"steps": 3}


def test_what_each_family_says_that_it_can_do():
    said = {
        name: (model.tracks, len(model.schedulers), model.reads_words, model.is_guided, model.draws_any_time)
        for name, model in (("mini", mini_model()), ("towered", towered_model()), ("framer", tiny()))
    }
    assert said == {
        "mini": ("matches", 0, False, False, True),
        "towered": ("none", 0, True, True, False),
        "framer": ("control", 4, False, True, False),
    }
    assert not plain_model().reads_words
    assert "control_scale" in tiny().call_settings
    assert "control_scale" not in mini_model().call_settings
