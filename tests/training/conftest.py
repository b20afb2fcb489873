"""What the tests of this room share."""

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from abbe.training.checkpoint import save_checkpoint
from abbe.training.fit import Fitted, _Run, fit
from abbe.training.log import Log
from abbe.training.stage import Stage


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: tiny networks are quickest so, and sums are always taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def quick_collection() -> Iterator[None]:
    """Each stage ends with a garbage collection; what the imports left behind is passed over."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def accelerator() -> Accelerator:
    """A CPU in full precision, without trackers."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True, mixed_precision="no")


@pytest.fixture
def train(tmp_path: Path, accelerator: Accelerator) -> Callable[..., Fitted]:
    """Fit a stage in ``tmp_path`` (or a folder in it), quietly."""

    def run(stage: Stage, folder: str = "", **options: Any) -> Fitted:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        log = Log(place / "log.jsonl", accelerator, "student")
        return fit(stage, accelerator, log, place / "student.pt", progress=False, **options)

    return run


@pytest.fixture
def last_state(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """What a checkpoint would hold at a stage's end; a finished one holds less."""
    states: list[dict[str, Any]] = []
    finish = _Run.finish

    def save_and_finish(run: _Run) -> Fitted:
        run.save()
        return finish(run)

    def save(path: Path, state: dict[str, Any]) -> None:
        if "finished" not in state:
            states.append(copy.deepcopy(state))
        save_checkpoint(path, state)

    monkeypatch.setattr("abbe.training.fit.save_checkpoint", save)
    monkeypatch.setattr(_Run, "finish", save_and_finish)
    return lambda: states[-1]
