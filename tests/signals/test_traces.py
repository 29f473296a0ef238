"""Long series: thinned evenly, whatever blocks they come in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwell.values.signal import Traces


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.integers(0, 40), max_size=12), limit=st.integers(2, 16))
def test_a_long_series_is_thinned_evenly_and_keeps_its_newest_value(blocks: list[int], limit: int) -> None:
    whole, single = Traces(), Traces()
    whole.limits["loss"] = single.limits["loss"] = limit
    step = 0
    for size in blocks:
        steps = list(range(step, step + size))
        whole.extend("loss", steps, [2.0 * s for s in steps])
        for s in steps:
            single.add("loss", s, 2.0 * s)
        step += size
    trace = whole.get("loss")
    np.testing.assert_array_equal(trace.steps, single.get("loss").steps)
    np.testing.assert_array_equal(trace.values, 2.0 * trace.steps)
    assert len(trace) <= limit + 1
    if step:
        assert trace.steps[0] == 0
        assert trace.steps[-1] == step - 1
        gaps = np.diff(trace.steps)
        assert (gaps[:-1] == gaps[:1].repeat(len(gaps[:-1]))).all()
        assert (gaps[-1:] <= gaps[:1]).all()
