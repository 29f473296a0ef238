"""Statistics of paired trials: design, looks, intervals, corrections, verdicts. numpy and scipy only."""
