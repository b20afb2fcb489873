"""log.jsonl, TensorBoard, and what becomes of the lines of a killed run."""

import contextlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.tracking import MLflowTracker, WandBTracker
from helpers_of_training import lines_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from abbe.errors import AbbeError
from abbe.training import log as logs
from abbe.training.log import Log, make_accelerator, open_accelerator

VALUES: dict[str, Any] = {"loss": 0.5, "terms": {"supervised": 0.25, "probability": 0.125}}


@pytest.fixture
def log(tmp_path: Path, accelerator: Accelerator) -> Log:
    return Log(tmp_path / "log.jsonl", accelerator, "student")


def test_every_event_is_a_line(log: Log) -> None:
    log.write("distil", 10, **VALUES)
    log.write("distil", 10, validation={"dice": 0.75})
    start = {"model": "student", "stage": "distil", "step": 10}
    assert lines_of(log.path) == [{**start, **VALUES}, {**start, "validation": {"dice": 0.75}}]


def test_a_line_is_on_the_disk_when_the_next_step_begins(log: Log) -> None:
    log.write("distil", 10, **VALUES)
    assert log.path.read_text(encoding="utf-8").endswith("}\n")


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    accelerator = make_accelerator(tmp_path, precision="fp32", trackers=())
    Log(tmp_path / "log.jsonl", accelerator, "student").write("distil", 10, **VALUES)
    Log(tmp_path / "log.jsonl", accelerator, "twin").write("distil", 20, loss=0.75)
    assert list((tmp_path / "tensorboard").glob("**/events.out.tfevents.*"))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    assert told == {
        "student/distil/loss": [(10, 0.5)],
        "student/distil/terms/supervised": [(10, 0.25)],
        "student/distil/terms/probability": [(10, 0.125)],
        "twin/distil/loss": [(20, 0.75)],
    }


def test_nothing_leaves_the_machine_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with open_accelerator(tmp_path, trackers=()):
        assert os.environ["WANDB_MODE"] == "offline"
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path.as_posix()}/mlflow.db"
    assert not {"WANDB_MODE", "MLFLOW_TRACKING_URI"} & set(os.environ)  # the next run has its own


def test_the_users_own_tracking_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with open_accelerator(tmp_path, trackers=()):
        assert os.environ["WANDB_MODE"] == "online"
    assert os.environ["WANDB_MODE"] == "online"


class MLflow(ModuleType):
    """What accelerate calls of MLflow 3.17: one run at a time, in a database and in no folder."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.active: str | None = None
        self.experiments: dict[str, str] = {}
        self.told: dict[str, list[tuple[str, dict[str, float]]]] = {}

    def _place(self) -> str:
        place = os.environ["MLFLOW_TRACKING_URI"]
        if place.startswith("file:"):
            raise RuntimeError("The filesystem tracking backend is in maintenance mode")
        return place

    def search_experiments(self, filter_string: str) -> list[SimpleNamespace]:
        name = filter_string.removeprefix("name = '").removesuffix("'")
        known = self.experiments.get(self._place()) == name
        return [SimpleNamespace(experiment_id="1")] if known else []

    def create_experiment(self, name: str, artifact_location: Any, tags: Any) -> str:
        self.experiments[self._place()] = name
        return "1"

    def start_run(self, *, run_name: str, **options: Any) -> SimpleNamespace:
        if self.active is not None:
            raise RuntimeError(f"Run with UUID {self.active} is already active.")
        self.active = run_name
        return SimpleNamespace(info=SimpleNamespace(run_name=run_name))

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        assert self.active is not None
        self.told.setdefault(self._place(), []).append((self.active, metrics))

    def end_run(self) -> None:
        self.active = None


def test_runs_of_a_process_are_tracked_one_after_the_other_each_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = MLflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("teacher", "student"):
        folder = tmp_path / name
        folder.mkdir()
        with (
            contextlib.suppress(KeyboardInterrupt),  # a run that is stopped ends, too
            open_accelerator(folder, precision="fp32", trackers=("mlflow",)) as accelerator,
        ):
            Log(folder / "log.jsonl", accelerator, "student").write("distil", 10, loss=0.5)
            raise KeyboardInterrupt
    assert mlflow.told == {
        f"sqlite:///{tmp_path.as_posix()}/{name}/mlflow.db": [(name, {"student/distil/loss": 0.5})]
        for name in ("teacher", "student")
    }
    assert set(mlflow.experiments.values()) == {"abbe"}


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((), []),
        (("wandb",), [WandBTracker]),
        (("mlflow",), []),  # it has no database to write to
        (("mlflow", "sqlalchemy", "wandb"), [WandBTracker, MLflowTracker]),
    ],
)
def test_trackers_that_are_installed_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], expected: list[type]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(logs, "_is_there", there.__contains__)
    assert [type(each) for each in logs._trackers("installed", tmp_path)] == expected


def test_a_server_of_mlflow_needs_no_database_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setattr(logs, "_is_there", ("mlflow",).__contains__)
    assert [type(each) for each in logs._trackers("installed", tmp_path)] == [MLflowTracker]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    class Second:
        is_main_process = False

    second: Any = Second()
    log = Log(tmp_path / "log.jsonl", second, "student")
    log.write("distil", 10, loss=0.5)
    assert not log.path.exists()
    log.path.write_text("as it was")
    log.forget_after("distil", 0)
    assert log.path.read_text() == "as it was"


def test_lines_beyond_the_checkpoint_are_forgotten(log: Log) -> None:
    twin = Log(log.path, log._accelerator, "twin")
    log.write("warm", 30, loss=3.0)
    for step in (10, 20, 30):
        log.write("distil", step, loss=1.0 / step)
    twin.write("distil", 30, loss=2.0)
    log.forget_after("distil", 20)
    kept = [(line["model"], line["stage"], line["step"]) for line in lines_of(log.path)]
    assert kept == [
        ("student", "warm", 30),
        ("student", "distil", 10),
        ("student", "distil", 20),
        ("twin", "distil", 30),
    ]


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(log: Log) -> None:
    log.write("distil", 10, **VALUES)
    whole = log.path.read_bytes()
    last = json.dumps({"model": "student", "stage": "distil", "step": 20, **VALUES}).encode()
    for length in range(1, len(last)):
        log.path.write_bytes(whole + last[:length])
        log.forget_after("distil", 20)
        assert log.path.read_bytes() == whole, last[:length]


def test_forgetting_where_there_is_no_log_does_nothing(log: Log) -> None:
    log.forget_after("distil", 0)
    assert not log.path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_has_a_message(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(AbbeError, match=r"log\.jsonl: cannot be written \(No space.*--resume"):
        Log(tmp_path / "log.jsonl", accelerator, "student").write("distil", 10, loss=0.5)
