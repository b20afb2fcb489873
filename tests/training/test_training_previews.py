"""Pictures while a network trains: when they are drawn, which stay; nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from accelerate import Accelerator
from helpers_of_training import (
    lines_of,
    loss_of_weights,
    same,
    stage_of,
    tiny_net,
    untimed,
    weights_of,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from abbe.errors import AbbeError
from abbe.training import previews
from abbe.training.fit import Fitted
from abbe.training.log import Log, make_accelerator
from abbe.training.previews import KEPT, Previews

Trainer = Callable[..., Fitted]


@pytest.fixture
def time_enough(monkeypatch) -> None:
    """However slow the machine: every picture is drawn."""
    monkeypatch.setattr(previews, "MOST_DRAWING", 1e9)


def drawn_by(network: nn.Module) -> np.ndarray:
    """A grey picture that tells which weights were drawn."""
    level = round(1e6 * loss_of_weights(network)["dice"]) % 256
    return np.full((4, 6, 3), level, np.uint8)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def log_of(folder: Path, accelerator: Accelerator) -> Log:
    return Log(folder / "log.jsonl", accelerator, "student")


def previews_of(folder: Path, log: Log, *, steps: int, every: int, draw=drawn_by) -> Previews:
    return Previews(draw, folder, "student-distil", "distil", log, steps=steps, every=every)


@pytest.mark.usefixtures("time_enough")
def test_each_validation_draws_the_averaged_weights(tmp_path: Path, train: Trainer) -> None:
    seen: list[float] = []

    def validate(network: nn.Module) -> dict[str, float]:
        seen.append(loss_of_weights(network)["dice"])
        return {"dice": seen[-1]}

    stage = stage_of(tiny_net(), validate=validate, preview=drawn_by)
    train(stage, previews=tmp_path / "previews")
    steps = (7, 14, 21, 28, 30)
    assert names_in(tmp_path / "previews") == [f"student-{step:06}.png" for step in steps]
    levels = [
        int(np.asarray(PIL.Image.open(tmp_path / "previews" / f"student-{step:06}.png"))[0, 0, 0])
        for step in steps
    ]
    assert levels == [round(1e6 * value) % 256 for value in seen]


@pytest.mark.usefixtures("time_enough")
def test_pictures_change_nothing_else(tmp_path: Path, train: Trainer) -> None:
    with_pictures, without = tiny_net(dropout=0.2), tiny_net(dropout=0.2)
    stage = stage_of(with_pictures, validate=loss_of_weights, preview=drawn_by)
    train(stage, "with", previews=tmp_path / "with" / "previews")
    train(stage_of(without, validate=loss_of_weights), "without")
    assert same(weights_of(with_pictures), weights_of(without))
    told = [untimed(lines_of(tmp_path / name / "log.jsonl")) for name in ("with", "without")]
    assert told[0] == told[1]


def test_no_folder_and_no_validation_mean_no_pictures(tmp_path: Path, train: Trainer) -> None:
    train(stage_of(tiny_net(), validate=loss_of_weights, preview=drawn_by))
    train(stage_of(tiny_net(), preview=drawn_by), "blind", previews=tmp_path / "previews")
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.usefixtures("time_enough")
def test_a_long_stage_keeps_some_over_all_its_steps_and_the_newest(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    log = log_of(tmp_path, accelerator)
    pictures = previews_of(tmp_path / "previews", log, steps=1000, every=5)
    for step in range(5, 965, 5):
        pictures.draw(tiny_net(), step)
    kept = [int(name[-10:-4]) for name in names_in(tmp_path / "previews")]
    assert kept == [*range(50, 951, 50), 960]
    for step in range(965, 1005, 5):
        pictures.draw(tiny_net(), step)
    kept = [int(name[-10:-4]) for name in names_in(tmp_path / "previews")]
    assert kept == list(range(50, 1001, 50))
    assert len(kept) == KEPT


def test_pictures_take_two_percent_of_the_time_at_most(
    tmp_path: Path, accelerator: Accelerator, monkeypatch
) -> None:
    now = 0.0
    monkeypatch.setattr(previews.time, "perf_counter", lambda: now)

    def one_second(network: nn.Module) -> np.ndarray:
        nonlocal now
        now += 1
        return drawn_by(network)

    log = log_of(tmp_path, accelerator)
    pictures = previews_of(tmp_path, log, steps=100, every=1, draw=one_second)
    for step in range(1, 101):
        now += 10
        before = pictures.seconds
        pictures.draw(tiny_net(), step)
        if step > 1 and pictures.seconds > before:
            assert pictures.seconds <= 0.02 * now
    assert pictures.seconds == 20  # of 1,020: no less than there is time for


@pytest.mark.usefixtures("time_enough")
def test_tensorboard_has_those_that_stay(tmp_path: Path) -> None:
    accelerator = make_accelerator(tmp_path, precision="fp32", trackers=())
    pictures = previews_of(tmp_path, log_of(tmp_path, accelerator), steps=80, every=2)
    for step in range(2, 42, 2):
        pictures.draw(tiny_net(), step)
    writer: Any = accelerator.get_tracker("tensorboard", unwrap=True)
    writer.flush()
    options = {"images": 0}  # all of them
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance=options).Reload()
    (tag,) = events.Tags()["images"]
    assert tag.startswith("student/distil/preview")
    found = events.Images(tag)
    assert [image.step for image in found] == list(range(4, 42, 4))
    assert (found[0].height, found[0].width) == (4, 6)


@pytest.mark.usefixtures("time_enough")
def test_a_resumed_run_forgets_what_was_drawn_beyond_its_checkpoint(
    tmp_path: Path, train: Trainer
) -> None:
    folder = tmp_path / "previews"
    folder.mkdir()
    for name in ("student-000007.png", "student-000099.png", "twin-000099.png"):
        (folder / name).write_bytes(b"drawn before")
    stage = stage_of(tiny_net(), validate=loss_of_weights, preview=drawn_by)
    train(stage, previews=folder, resume=True)
    assert names_in(folder) == [
        *(f"student-{step:06}.png" for step in (7, 14, 21, 28, 30)), "twin-000099.png",
    ]  # fmt: skip
    assert (folder / "student-000007.png").read_bytes() != b"drawn before"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "previews").write_text("a file where the folder should be")
    pictures = previews_of(tmp_path / "previews", log_of(tmp_path, accelerator), steps=8, every=2)
    with pytest.raises(AbbeError, match=r"student-distil-000002.png: cannot be written.*--resume"):
        pictures.draw(tiny_net(), 2)
