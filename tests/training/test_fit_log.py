"""What training writes down while it goes on."""

import time
from collections.abc import Callable
from pathlib import Path

from helpers_of_training import (
    lines_of,
    loss_of_weights,
    stage_of,
    tiny_batches,
    tiny_net,
)

from abbe.datasets.training.batches import Batch
from abbe.training.fit import Fitted
from abbe.training.stage import Term

Trainer = Callable[..., Fitted]


def test_lines_hold_what_the_documentation_says(tmp_path: Path, train: Trainer) -> None:
    train(stage_of(tiny_net(), validate=loss_of_weights))
    lines = lines_of(tmp_path / "log.jsonl")
    trained = [line for line in lines if "validation" not in line]
    validated = [line for line in lines if "validation" in line]
    assert [line["step"] for line in trained] == [7, 10, 14, 20, 21, 28, 30]
    assert [line["step"] for line in validated] == [7, 14, 21, 28, 30]
    names = {"supervised", "probability", "boundary", "target_boundary"}
    for line in trained:
        assert line.keys() == {
            *("model", "stage", "step", "steps", "loss", "terms", "weights"),
            *("learning_rate", "images_per_s", "share_waiting", "seconds"),
        }
        assert (line["model"], line["stage"], line["steps"]) == ("student", "distil", 30)
        assert line["terms"].keys() == line["weights"].keys() == names
        assert line["images_per_s"] > 0
        assert 0 <= line["share_waiting"] <= 1
    times = [line["seconds"] for line in trained]
    assert times == sorted(times)
    assert times[0] > 0
    for line in validated:
        assert line.keys() == {"model", "stage", "step", "validation", "share_validating"}
        assert 0 < line["share_validating"] < 1
        assert line["validation"].keys() == {"dice"}


def test_a_line_holds_the_means_since_the_line_before(tmp_path: Path, train: Trainer) -> None:
    values = [float(value) for value in range(1, 15)]
    remaining = iter(values)
    term = Term("ramp", lambda output, batch: next(remaining) + 0 * output.sum(), distils=False)
    train(stage_of(tiny_net(), terms=[term], steps=14))
    means = {line["step"]: line["terms"]["ramp"] for line in lines_of(tmp_path / "log.jsonl")}
    assert means == {7: 4.0, 10: 9.0, 14: 12.5}


def test_waiting_for_data_is_told(tmp_path: Path, train: Trainer) -> None:
    batches = tiny_batches()

    class Slow:
        batch_size = batches.batch_size

        def __getitem__(self, step: int) -> Batch:
            time.sleep(0.05)
            return batches[step]

    fitted = train(stage_of(tiny_net(), batches=Slow(), steps=10, validate_every=10))
    (line,) = lines_of(tmp_path / "log.jsonl")
    images = 10 * batches.batch_size
    for share, speed in (
        (fitted.share_waiting, fitted.images_per_second),
        (line["share_waiting"], line["images_per_s"]),
    ):
        assert share < 1
        assert share * images / speed >= 10 * 0.05  # seconds; a busy machine only adds to them
