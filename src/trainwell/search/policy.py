"""Which searcher, by space and budget."""

from __future__ import annotations

from trainwell.search.space import Space

FEW_TRIALS = 8
"""Below this a model of the results has nothing to learn from."""

MANY_PARAMETERS = 40
"""From here on distances between configurations say little. Source: docs/log-search.md."""


def choose_searcher(space: Space, trials: int | None) -> tuple[str, str]:
    """Return the name of the searcher and why.

    Args:
        trials: how many trials the budget allows, as far as is known; None where it is a budget of time.
    """
    if trials is not None and space.size <= trials:
        return "grid", f"the trials hold all {space.size:g} configurations"
    if trials is not None and trials < FEW_TRIALS:
        count = "1 trial is" if trials == 1 else f"{trials} trials are"
        return "sobol", f"{count} too few to learn from; they fill the space evenly"
    if len(space) > MANY_PARAMETERS:
        return "sobol", f"{len(space)} parameters are too many for a model of the results"
    return "gp", "a model of the results finds better ones in fewer trials (docs/log-search.md)"
