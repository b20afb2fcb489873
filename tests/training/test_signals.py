"""Starting workers leaves the process's signals alone."""

import os
import signal
import threading

import pytest
from torch.utils.data import DataLoader

from abbe.training.signals import child_signals_as_they_were


def test_the_loader_s_handler_does_not_stay():
    before = signal.getsignal(signal.SIGCHLD)
    with child_signals_as_they_were():
        signal.signal(signal.SIGCHLD, lambda *_: None)
    assert signal.getsignal(signal.SIGCHLD) == before


def test_other_threads_may_train_too():
    failures = []

    def train():
        try:
            with child_signals_as_they_were():
                pass
        except ValueError as error:  # what signal.signal says outside the main thread
            failures.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert failures == []


class Kills:
    """A data set whose worker dies."""

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index

    def __len__(self) -> int:
        return 4


@pytest.mark.slow
def test_a_dead_worker_is_still_found():
    with child_signals_as_they_were():
        batches = iter(DataLoader(Kills(), num_workers=1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        next(batches)
