"""Keeps small work off several threads, which then cost more than they do."""

from __future__ import annotations

import contextlib
import warnings

import torch

SMALL_S = 0.01
"""A training step of fewer CPU-seconds gains little from a second thread. Where other work keeps a core busy it loses:
at the end of every product of matrices one thread spins until the machine runs the other one."""


def threads_for(step_s: float) -> contextlib.AbstractContextManager[object]:
    """Return a context for work of the size of a training step: on one thread if that is small.

    The numbers of threads are those of this process's OpenMP and BLAS libraries; they are given back as they were.
    `torch.set_num_threads` would leave more behind: it also tells MKL to use all of them from then on.

    Args: step_s: CPU-seconds of a step; 0 where they are not known.
    """
    if step_s > SMALL_S or torch.get_num_threads() == 1:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    with warnings.catch_warnings():  # of two kinds of OpenMP in one process, which are not of our making
        warnings.simplefilter("ignore")
        limits: contextlib.AbstractContextManager[object] = threadpool_limits(1)
    return limits
