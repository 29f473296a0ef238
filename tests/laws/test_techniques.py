"""Every technique of the registry under every law."""

from __future__ import annotations

import pytest

import trainwell.techniques  # noqa: F401
from trainwell.testing import LAWS
from trainwell.values.technique import REGISTRY

NAMES = sorted(n for n, kind in REGISTRY.items() if kind.__module__.startswith("trainwell."))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", NAMES)
def test_technique_obeys(name: str, law: str) -> None:
    reason = LAWS[law](REGISTRY[name])
    if reason:
        pytest.skip(reason)
