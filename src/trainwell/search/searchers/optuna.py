"""Optuna's samplers behind our protocol: `optuna:tpe`, `optuna:gp`, `optuna:cmaes`, `optuna:random`, `optuna:qmc`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trainwell.search.draws import generator
from trainwell.search.optuna_form import ask, distributions, quiet, require_optuna, to_frozen
from trainwell.search.searcher import Searcher, Told
from trainwell.search.space import Config, Space, same
from trainwell.values.errors import UsageError, did_you_mean

MOST_TRIES = 32
"""Proposals that are refused because they were tried before, until an independent draw takes their place."""


class Optuna(Searcher):
    """Ask a sampler of Optuna.

    Helps to compare with it, and where its CMA-ES or TPE is wanted. Each proposal has a fresh sampler with a seed
    of its own, so that it depends on what was told alone.
    Harms the speed: a suggestion takes 8 ms to 1.4 s.
    Source:  Akiba et al. 2019, arXiv:1907.10902.
    """

    name = "optuna"
    default_batch = 1

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None, sampler: str = "tpe") -> None:
        super().__init__(space, seed, batch)
        require_optuna()
        makers = _samplers(self.batch)
        if sampler not in makers:
            near = did_you_mean(sampler, makers)
            raise UsageError(f"--searcher optuna:{sampler}: expected one of {', '.join(makers)}.{near}")
        self.sampler, self._make = sampler, makers[sampler]

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        found: list[Config] = []
        known = {same(t.config) for t in told}
        with quiet():
            study = self._study(told)
            for number in range(start, start + count):
                config, trial = self._fresh(study, number, known)
                if config is None:
                    break
                known.add(same(config))
                found.append(config)
                if trial is None:  # drawn by ourselves: the sampler is told that it runs
                    frozen = to_frozen(self.space, Told(number, config), distributions(self.space))
                    study.add_trial(frozen)
        return found

    def _fresh(self, study: Any, number: int, known: set[Any]) -> tuple[Config | None, Any]:
        """Ask until something new comes, then draw from the prior."""
        for attempt in range(MOST_TRIES):
            rng = generator(self.seed, "optuna", number, attempt)
            study.sampler = self._make(int(rng.integers(2**31)))
            trial = study.ask()
            config = ask(self.space, trial)
            if same(config) not in known:
                return config, trial
            study.tell(trial, state=_failed())
            drawn = self.space.draw(rng.random(len(self.space)))
            if attempt > MOST_TRIES // 2 and same(drawn) not in known:
                return drawn, None
        return None, None

    def _study(self, told: Sequence[Told]) -> Any:
        """Return a study of Optuna's that knows what we were told, and nothing else."""
        import optuna

        study = optuna.create_study(sampler=self._make(0))
        if self.sampler == "cmaes":
            self._replay(study, told)
            return study
        spaces = distributions(self.space)
        study.add_trials([to_frozen(self.space, t, spaces) for t in told])
        return study

    def _replay(self, study: Any, told: Sequence[Told]) -> None:
        """Tell one by one: this sampler keeps what it learned with the trials that it proposed itself."""
        for t in told:
            study.sampler = self._make(int(generator(self.seed, "optuna", t.number, 0).integers(2**31)))
            trial = study.ask()
            proposed = ask(self.space, trial)
            if same(proposed) != same(t.config):
                study.tell(trial, state=_failed())
                study.add_trial(to_frozen(self.space, t, distributions(self.space)))
            elif t.value is not None:
                good = t.is_good
                study.tell(trial, t.value if good else None, state=None if good else _failed())


def _failed() -> Any:
    import optuna

    return optuna.trial.TrialState.FAIL


def _samplers(batch: int) -> dict[str, Callable[[int], Any]]:
    from optuna import samplers

    return {
        "tpe": lambda seed: samplers.TPESampler(seed=seed, constant_liar=batch > 1),
        "gp": lambda seed: samplers.GPSampler(seed=seed),
        "cmaes": lambda seed: samplers.CmaEsSampler(seed=seed),
        "random": lambda seed: samplers.RandomSampler(seed=seed),
        "qmc": lambda seed: samplers.QMCSampler(seed=seed),
    }
