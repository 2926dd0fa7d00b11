"""Batches are read in another thread while the network learns."""

from __future__ import annotations

import signal
import threading

import pytest
import torch

from genie_env.data.datasets import Batch
from genie_env.training.prefetch import Prefetch

PATIENCE = 60  # seconds that a test which fails waits


def numbered(step: int) -> Batch:
    return {"step": torch.tensor(step)}


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "reader" in thread.name]


def test_batches_come_in_order_and_none_beyond_the_last_step() -> None:
    built = []

    def build(step: int) -> Batch:
        built.append(step)
        return numbered(step)

    with Prefetch(build, 7) as batches:
        assert [int(batches.batch(step)["step"]) for step in range(3, 7)] == [3, 4, 5, 6]
    assert built == [3, 4, 5, 6]
    assert not readers()


def test_the_next_batch_is_built_while_this_one_is_used() -> None:
    begun, main = threading.Event(), threading.current_thread()

    def build(step: int) -> Batch:
        assert threading.current_thread() is not main
        if step == 1:
            begun.set()
        return numbered(step)

    with Prefetch(build, 2) as batches:
        batches.batch(0)
        assert begun.wait(PATIENCE)  # nobody has asked for batch 1


def test_no_more_than_one_batch_is_built_ahead() -> None:
    built, second = [], threading.Event()

    def build(step: int) -> Batch:
        built.append(step)
        if step == 1:
            second.set()
        return numbered(step)

    with Prefetch(build, 100) as batches:
        batches.batch(0)
        assert second.wait(PATIENCE)
    assert built == [0, 1]


def test_another_step_than_the_next_is_built_too() -> None:
    with Prefetch(numbered, 100) as batches:
        assert [int(batches.batch(step)["step"]) for step in (4, 9, 0)] == [4, 9, 0]


def test_what_the_reader_raises_arrives_as_it_was_when_its_batch_is_asked_for() -> None:
    error = OSError("the disk is gone")

    def build(step: int) -> Batch:
        if step == 1:
            raise error
        return numbered(step)

    with pytest.raises(OSError) as caught, Prefetch(build, 9) as batches:
        assert int(batches.batch(0)["step"]) == 0
        batches.batch(1)
    assert caught.value is error
    assert not readers()


def test_a_failure_between_batches_leaves_no_thread() -> None:
    with pytest.raises(ZeroDivisionError), Prefetch(numbered, 9) as batches:
        batches.batch(0)
        raise ZeroDivisionError
    assert not readers()


def test_ctrl_c_interrupts_the_wait_for_a_batch() -> None:
    waiting, interrupted = threading.Event(), threading.Event()

    def build(step: int) -> Batch:
        waiting.set()
        assert interrupted.wait(PATIENCE)
        return numbered(step)

    def interrupt() -> None:
        assert waiting.wait(PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        interrupted.set()  # the reader, which cannot be interrupted, ends too
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    presser = threading.Thread(target=interrupt)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt), Prefetch(build, 9) as batches:
            batches.batch(0)
    finally:
        signal.signal(signal.SIGINT, before)
        presser.join()
    assert not readers()
