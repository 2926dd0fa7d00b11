"""A notice where torch has more threads than the process has cores."""

from __future__ import annotations

import os

import torch

from genie_env.data.progress import say


def warn_of_threads() -> None:
    """Says so, in a line: threads that share a core wait for each other, and all is slower."""
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    if threads > cores:
        say(
            f"torch has {threads} threads, but this process {cores} cores, so that threads wait "
            f"for each other: set OMP_NUM_THREADS to {cores} or less"
        )
