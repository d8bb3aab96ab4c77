"""Settings that fit a pipeline's call."""

from __future__ import annotations

import pytest

from nakawari.errors import UsageError
from nakawari.families.calling import settings_for


class Few:
    def __call__(self, steps: int, guidance: float = 1.0) -> None: ...


class Any:
    def __call__(self, **settings: object) -> None: ...


def test_settings_that_a_pipeline_lacks_are_refused_or_left_out():
    wanted = {"steps": 3, "guidance": None, "guided": False}
    assert settings_for(Few(), wanted, "The test") == {"steps": 3}
    assert settings_for(Any(), wanted, "The test") == {"steps": 3, "guided": False}
    with pytest.raises(UsageError, match=r"^The test sets eta, which Few does not know; leave it out\.$"):
        settings_for(Few(), wanted | {"eta": 0.5}, "The test")
    assert settings_for(Few(), wanted | {"eta": 0.0}, "The test", ("guided", "eta")) == {"steps": 3}
