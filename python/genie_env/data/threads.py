"""A notice where torch has more threads than the process has cores."""

from __future__ import annotations

import os

import torch

from genie_env.data.progress import say


def cores_of_this_process() -> int:
    """Cores that it may use; all, where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def warn_of_threads() -> None:
    """Says so, in a line: threads that share a core wait for each other, and all is slower."""
    threads, cores = torch.get_num_threads(), cores_of_this_process()
    if threads > cores:
        say(
            f"torch runs {threads} threads, but this process may use {cores} of the cores, so that "
            f"threads wait for each other: set OMP_NUM_THREADS to {cores} or less"
        )
