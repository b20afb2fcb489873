"""What training tells while it runs: log.jsonl, TensorBoard and its kin."""

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import DistributedDataParallelKwargs

from abbe.errors import AbbeError, ConfigError
from abbe.files import parse_json, write_text
from abbe.machine.pace import use_threads
from abbe.machine.precision import choose_precision

Tracker = Literal["tensorboard", "wandb", "mlflow"]

PROJECT = "abbe"
"""What W&B calls the project of all runs, and MLflow the experiment."""


@contextmanager
def open_accelerator(
    folder: Path,
    *,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    trackers: Sequence[Tracker] | Literal["installed"] = "installed",
    sync_batch_norm: bool = False,
) -> Iterator[Accelerator]:
    """The device, the number format and the trackers of a run; these end with the block.

    TensorBoard always writes to ``folder``/tensorboard. W&B stays offline, in ``folder``/wandb,
    and MLflow writes to ``folder``/mlflow.db unless the user's environment says otherwise, so that
    nothing leaves unasked.

    Raises:
        ConfigError: ``sync_batch_norm`` is wanted of several processes on CPUs.
    """
    database = (folder / "mlflow.db").resolve().as_posix()
    here = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    with _environment(here):
        accelerator = make_accelerator(
            folder, precision=precision, trackers=trackers, sync_batch_norm=sync_batch_norm
        )
        try:
            yield accelerator
        finally:  # without the next run's going on in this one, or being refused
            for tracker in accelerator.trackers:
                tracker.finish()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that are set for the block, where the user has not set them."""
    own = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def make_accelerator(
    folder: Path,
    *,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    trackers: Sequence[Tracker] | Literal["installed"] = (),
    sync_batch_norm: bool = False,
) -> Accelerator:
    """The device, the number format and the trackers, which nobody ends; see `open_accelerator`.

    Raises:
        ConfigError: ``sync_batch_norm`` is wanted of several processes on CPUs.
    """
    use_threads()
    accelerator = Accelerator(
        mixed_precision=number_format(precision),
        log_with=["tensorboard", *_trackers(trackers, folder)],
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        project_dir=folder,
    )
    require_batch_norm(accelerator, synchronised=sync_batch_norm)
    accelerator.init_trackers("tensorboard")
    return accelerator


def number_format(precision: Literal["auto", "fp32", "bf16", "fp16"]) -> str:
    """What accelerate calls a precision, for the next accelerator that is made."""
    chosen = choose_precision(precision, Accelerator().device)
    # All accelerators of a process share their number format, which that one has just set.
    AcceleratorState._reset_state()
    return "no" if chosen == "fp32" else chosen


def require_batch_norm(accelerator: Accelerator, *, synchronised: bool) -> None:
    """Refuse what torch has no kernel for, before anything is computed.

    Raises:
        ConfigError: batch norm is to be synchronised among processes on CPUs.
    """
    if synchronised and accelerator.num_processes > 1 and accelerator.device.type == "cpu":
        raise ConfigError(
            "training.sync_batch_norm: torch synchronises batch norm on GPUs only, and these "
            f"{accelerator.num_processes} processes compute on CPUs. Set it to false, or run one "
            "process"
        )


def _trackers(
    trackers: Sequence[Tracker] | Literal["installed"], folder: Path
) -> Iterator[GeneralTracker]:
    """Those beside TensorBoard; each calls the run by its folder's name."""
    if trackers == "installed":
        # MLflow here is a database, which its small package, made for servers, cannot write.
        local = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:").startswith("sqlite:")
        needed = {"wandb": ["wandb"], "mlflow": ["mlflow", *["sqlalchemy"] * local]}
        wanted = {name for name, packages in needed.items() if all(map(_is_there, packages))}
    else:
        wanted = set(trackers)
    if "wandb" in wanted:
        yield WandBTracker(PROJECT, name=folder.name, dir=str(folder))
    if "mlflow" in wanted:
        yield MLflowTracker(PROJECT, run_name=folder.name)


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class Log:
    """One line of JSON an event in log.jsonl, the same numbers to the trackers."""

    def __init__(self, path: Path, accelerator: Accelerator, model: str) -> None:
        """Append to ``path`` what is said of ``model`` ('student' or 'twin')."""
        self.path, self.model, self._accelerator = path, model, accelerator

    def write(self, stage: str, step: int, **values: Any) -> None:
        """Add an event; nested dictionaries become 'terms/probability' for the trackers.

        Raises:
            AbbeError: the file cannot be written, such as when the disk is full.
        """
        if not self._accelerator.is_main_process:
            return
        line = {"model": self.model, "stage": stage, "step": step, **values}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise AbbeError(
                f"{self.path}: cannot be written ({error.strerror}). Free some disk space or mend "
                "the folder's permissions, then go on with --resume"
            ) from error
        numbers = {f"{self.model}/{stage}/{key}": value for key, value in _flat(values)}
        self._accelerator.log(numbers, step=step)

    def picture(self, stage: str, step: int, rgb: np.ndarray) -> None:
        """Show a picture (H, W, 3) uint8 in TensorBoard; the log itself holds none."""
        for tracker in self._accelerator.trackers:
            if isinstance(tracker, TensorBoardTracker):
                named = {f"{self.model}/{stage}/preview": rgb[None]}
                tracker.log_images(named, step, dataformats="NHWC")

    def forget_after(self, stage: str, step: int) -> None:
        """Drop what an interrupted run logged beyond the checkpoint it resumes from."""
        if not self._accelerator.is_main_process or not self.path.exists():
            return
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                line = parse_json(text)
            except ValueError:
                continue  # torn by the kill
            if (line["model"], line["stage"]) != (self.model, stage) or line["step"] <= step:
                lines.append(text)
        write_text(self.path, "".join(f"{text}\n" for text in lines))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
