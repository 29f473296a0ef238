"""The suite itself: a sound technique of a third party passes, and each law catches its breach."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

import trainwell.techniques  # noqa: F401
from trainwell.testing import LAWS, check_technique
from trainwell.testing.laws import (
    acts_on_its_kinds,
    calls_stay_within_the_budget,
    docstring_is_complete,
    expects_come_true,
    lanes_equal_single_runs,
    off_is_absence,
    prescribe_stays_in_range,
    resume_is_exact,
    round_trip,
)
from trainwell.values.dose import dose
from trainwell.values.technique import REGISTRY, Technique


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    known = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(known)


def centred(**methods: Any) -> type[Technique]:
    """Make gradient centralization as a third party would, with methods or attributes replaced."""

    class GradShrink(Technique):
        """Shrink the gradient.

        Helps when the rate is too high. Harms the speed. Args: share: what is taken away.
        Source: this test.
        """

        treats = ("lr_too_high",)
        expects: ClassVar = {"train_loss": "-"}
        calls = 1
        share: float = dose(0.9, low=0.01, high=0.99, off=0.0, unit="share of the gradient")

        def grads(self, grads: Any, params: Any, state: Any) -> None:
            grads.flat.mul_(1 - self.share)

    for name, value in methods.items():
        setattr(GradShrink, name, value)
    return dataclasses.dataclass(frozen=True)(GradShrink)


def test_sound_technique_of_a_third_party_passes_all_laws() -> None:
    assert check_technique(centred()) == ["9 kinds: it does not touch the data"]
    assert len(LAWS) == 9


def test_round_trip_catches_a_dose_that_is_not_kept() -> None:
    def to_dict(self: Any) -> dict[str, Any]:
        return {"name": self.name, "share": round(self.share, 1)}

    with pytest.raises(AssertionError, match="saved form"):
        round_trip(centred(to_dict=to_dict))


def test_off_catches_a_change_of_the_last_bit() -> None:
    def grads(self: Any, grads: Any, params: Any, state: Any) -> None:
        grads.flat.div_(3).mul_(3).mul_(1 - self.share)

    with pytest.raises(AssertionError, match="a lane that is off had its gradient changed"):
        off_is_absence(centred(grads=grads))


def test_lanes_catches_a_sum_over_lanes() -> None:
    def grads(self: Any, grads: Any, params: Any, state: Any) -> None:
        grads.flat.mul_(1 - self.share).div_(1 + 1e-9 * grads.flat.norm())

    with pytest.raises(AssertionError, match=r"the gradient of its lane|the weights of its lane"):
        lanes_equal_single_runs(centred(grads=grads))


def test_resume_catches_a_state_that_is_not_saved() -> None:
    count = torch.zeros(())

    def grads(self: Any, grads: Any, params: Any, state: Any) -> None:
        grads.flat.mul_(1 / count.add_(1))

    with pytest.raises(AssertionError, match=r"a resume at step \d+ differs in weights"):
        resume_is_exact(centred(grads=grads))


def test_expects_catches_a_promise_that_is_not_kept() -> None:
    with pytest.raises(AssertionError, match="should move train_loss"):
        expects_come_true(centred(expects={"train_loss": "+"}))
    with pytest.raises(AssertionError, match="unknown ailments: hiccups"):
        expects_come_true(centred(treats=("hiccups",)))


def test_prescribe_catches_a_dose_out_of_range() -> None:
    def prescribe(cls: Any, finding: Any) -> Any:
        return cls(share=finding.facts.get("x") or 0.5) if finding.ailment in cls.treats else None

    with pytest.raises(AssertionError, match=r"out of range: .*share must lie in"):
        prescribe_stays_in_range(centred(prescribe=classmethod(prescribe)))


def test_docstring_catches_what_is_missing() -> None:
    with pytest.raises(AssertionError, match="lacks"):
        docstring_is_complete(centred(__doc__="Shrink the gradient. Helps. Source: none."))
    with pytest.raises(AssertionError, match="does not explain 'share'"):
        docstring_is_complete(centred(__doc__="Shrink.\n\nHelps and harms.\nSource: none."))


def test_calls_catches_what_is_not_declared() -> None:
    with pytest.raises(AssertionError, match="adds 1 Python calls to a step and declares 0"):
        calls_stay_within_the_budget(centred(calls=0))


def test_kinds_catches_data_that_are_left_as_they_are() -> None:
    def batch(self: Any, batch: Any, generator: Any) -> None:
        batch.x = tuple(x + self.share if x.is_floating_point() else x for x in batch.x)

    assert acts_on_its_kinds(centred(batch=batch, kinds=("table", "image"))) is None
    with pytest.raises(AssertionError, match="leaves texts as they are: say in `kinds`"):
        acts_on_its_kinds(centred(batch=batch))
    with pytest.raises(AssertionError, match="kinds of data that there are not: photos"):
        acts_on_its_kinds(centred(batch=batch, kinds=("photos",)))
