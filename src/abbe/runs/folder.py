"""The folder of a run: what went in and what came out, and who may go on in it."""

import os
import shutil
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abbe import config
from abbe.errors import ConfigError, InputError
from abbe.files import remove_stale_parts_below
from abbe.files.locks import alone
from abbe.notebooks import card
from abbe.remote import as_remote
from abbe.runs.showing import figures_of_run, picture_of_example
from abbe.summary import (
    CURVE_PLAN,
    PREVIEWS,
    SEEDS,
    TRAINED_ON,
    CurveSummary,
    Gain,
    RunSummary,
    read_summary,
)

if TYPE_CHECKING:
    import pyarrow

    from abbe.reporting.run_folder import Example


@dataclass(frozen=True)
class Run:
    """A finished run.

    ``gain`` is student − best baseline by metric, each with mean, ci95, p and n; ``retention`` is
    student ÷ teacher by metric. Both are empty where there is no baseline, or no teacher.

    A run stands for its folder wherever a path is wanted.
    """

    folder: Path
    summary: RunSummary
    network: str = "student"
    """Which of its networks is handed over: the student, or the name of a baseline."""

    def __repr__(self) -> str:
        figures = list(figures_of_run(self.summary).items())[:2]
        told = "".join(f", {name} {value}" for name, value in figures)
        return f"Run('{self.folder}', recipe {self.summary.recipe}{told})"

    def _repr_html_(self) -> str:
        headline, figures = self.summary.title or str(self.folder), figures_of_run(self.summary)
        try:
            example = next(iter(self.examples), None)
        except InputError as error:
            return card(headline, {**figures, "examples": error})
        picture = None if example is None else picture_of_example(example.image, example.labels)
        return card(headline, figures, picture)

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    @property
    def scores(self) -> "pyarrow.Table":
        """The scores of every test image, in the columns image, group, model, metric and value.

        ``run.scores.to_pandas()`` makes a data frame of it, where pandas is installed.

        Raises:
            InputError: the run has no scores by image.
        """
        from pyarrow import parquet

        path = self.folder / "scores.parquet"
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; this run has no scores by image")
        return parquet.read_table(path)

    @property
    def examples(self) -> "tuple[Example, ...]":
        """Some test images with what each model drew on them, best to worst."""
        from abbe.reporting.run_folder import read_examples

        return read_examples(self.folder)

    def show(self) -> Path:
        """Open the report in the browser; its path comes back."""
        webbrowser.open(self.report.absolute().as_uri())
        return self.report

    @property
    def gain(self) -> dict[str, Gain]:
        """Gain by metric."""
        return self.summary.gain

    @property
    def retention(self) -> dict[str, float | None]:
        """Retention by metric."""
        return self.summary.retention

    @property
    def student(self) -> Path:
        """The weights of the student, or of the network that is handed over in its place."""
        return self.folder / f"{self.network}.safetensors"

    @property
    def report(self) -> Path:
        """The report of the run."""
        return self.folder / "report.html"


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Read a finished run.

    Raises:
        InputError: the folder holds no finished run.
    """
    summary = read_summary(Path(folder))
    if isinstance(summary, CurveSummary):
        raise InputError(
            f"{folder}: holds a label-efficiency curve, not a run. Its networks are in trainings/; "
            "give the folder of a run"
        )
    return Run(Path(folder), summary)


def require_student(run: Run) -> None:
    """Refuse a run that was made for its encoder alone, or whose student was taken away.

    Raises:
        InputError: there is no student in its folder.
    """
    file = run.folder / "encoder.safetensors"
    if file.exists() and not run.student.exists() and run.summary.pretraining is None:
        raise InputError(
            f"{run.folder}: a run of recipe '{run.summary.recipe}' leaves an encoder for other "
            f"runs, no student. Name it there: --student.encoder-weights {file}"
        )
    if "student" in run.summary.models:
        require_weights(run.student, run.folder)


def require_weights(file: Path, folder: Path) -> None:
    """Refuse a run in whose folder a network's file is missing.

    Raises:
        InputError: it is.
    """
    if not file.is_file():
        raise InputError(
            f"{file}: this network of the run is missing. Restore it from a copy, or have the run "
            f"write it again with 'abbe distill {folder} --resume'"
        )


@contextmanager
def opened(
    experiment: config.Experiment, *, resume: bool, as_curve: bool = False
) -> Iterator[Path]:
    """The folder of a run, or of a curve, with config.yaml in it, for this process alone.

    A start that fails before anything is computed leaves no folder behind. Of several processes
    the first makes the folder, and stops them all if it cannot.

    Raises:
        ConfigError: the folder holds a run and ``resume`` is not set, holds a run of another
            experiment, or a curve where a run is to be, is being trained by another process, or
            cannot be written.
    """
    folder = experiment.out
    if as_remote(folder) is not None:
        raise ConfigError(f"out: {folder}: this is made in folders of this machine alone")
    if os.environ.get("RANK", "0") != "0":
        yield folder
        return
    made = not folder.exists()
    with ExitStack() as stack:
        if made:
            stack.callback(_remove_empty, folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(folder / ".lock"))
            remove_stale_parts_below(folder)
            _start(experiment, resume=resume, as_curve=as_curve)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder}: {error} is at work there. Wait until it has ended, or give another "
                "--out"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"out: cannot write to {folder} ({error.strerror}). Give another --out"
            ) from error
        try:
            yield folder
        finally:
            if made and not has_computed(folder):
                _forget(folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something, or was never made
        folder.rmdir()


def _start(experiment: config.Experiment, *, resume: bool, as_curve: bool) -> None:
    """Write config.yaml, or check that a resumed run is the same.

    What a start left that trained nothing is made anew: its images and splits may be others.
    """
    folder = experiment.out
    written = folder / "config.yaml"
    begun = has_trained(folder)
    before = written.read_bytes() if written.exists() else None
    if begun:
        _require_kind(folder, as_curve=as_curve)
    if begun and before is not None:
        _require_same(experiment, resume=resume)
    config.save(experiment, written)
    if not begun and before is not None:
        _forget_start(folder, all_of_it=written.read_bytes() != before)


def _require_kind(folder: Path, *, as_curve: bool) -> None:
    """Refuse a run in a curve's folder, and a curve in a run's: each overwrites the other."""
    verb, held = ("curve", "a curve") if holds_curve(folder) else ("distill", "a run")
    if (verb == "curve") != as_curve:
        raise ConfigError(
            f"{folder}: holds {held}. Go on with it: abbe {verb} {folder} --resume; or give "
            "another --out"
        )


def _require_same(experiment: config.Experiment, *, resume: bool) -> None:
    """Refuse to go on with another experiment than the folder's, or with less evidence."""
    folder = experiment.out
    if not resume:
        raise ConfigError(
            f"{folder}: already holds a run. Give --resume to finish it, or another --out"
        )
    before = read_experiment(folder)
    differing = differences(before, experiment)
    if differing:
        raise ConfigError(
            f"{folder}: was begun with another experiment; these keys differ: "
            f"{', '.join(differing)}. Resume with {folder} alone, or give another --out"
        )
    gone = [
        *(f"seed {seed}" for seed in before.all_seeds if seed not in experiment.all_seeds),
        *(name for name in before.compared_with if name not in experiment.compared_with),
    ]
    if gone:
        raise ConfigError(
            f"{folder}: evidence can be added to a run, not taken away ({', '.join(gone)}). "
            "Ask for as much or more, or give another --out"
        )


def read_experiment(folder: Path) -> config.Experiment:
    """The experiment of a run folder; what earlier versions did without saying so is said."""
    experiment = config.load(folder / "config.yaml")
    promptable = experiment.student.architecture.startswith("promptable-")  # sees pictures as SAM
    if not promptable and not _says_how_images_are_read(folder):
        student = experiment.student.model_copy(update=config.EARLIER_INPUT)
        experiment = experiment.model_copy(update={"student": student})
    return experiment


def begun(folder: Path) -> config.Experiment | None:
    """The experiment whose training was begun in a folder; None where none was."""
    there = (folder / "config.yaml").exists() and has_trained(folder)
    return read_experiment(folder) if there else None


def _says_how_images_are_read(folder: Path) -> bool:
    student = config.read_values(folder / "config.yaml").get("student")
    return isinstance(student, dict) and "normalisation" in student


def has_trained(folder: Path) -> bool:
    """Whether there is more to lose than a config.yaml: a wrong path is mended by trying again."""
    names = ("log.jsonl", "checkpoints", "summary.json", "pretraining", "trainings")
    return any((folder / name).exists() for name in names)


def holds_curve(folder: Path) -> bool:
    """Whether what was begun in a folder is a label-efficiency curve, and no run."""
    return (folder / CURVE_PLAN).exists() or (folder / "trainings").is_dir()


def has_computed(folder: Path) -> bool:
    """Whether anything is there that took time: answers of a teacher, or training."""
    answers = ("targets.zarr", "teachers")  # of one teacher, and of each of several
    return has_trained(folder) or any((folder / name).exists() for name in answers)


def _forget(folder: Path) -> None:
    """Take out what a start writes before it computes anything."""
    (folder / "config.yaml").unlink(missing_ok=True)
    _forget_start(folder)


def _forget_start(folder: Path, *, all_of_it: bool = True) -> None:
    """The same but for config.yaml; of an experiment that goes on, its command stays, too."""
    written = ("schedule.json", TRAINED_ON, "mlflow.db")
    for name in (*written, *(["environment.json"] if all_of_it else [])):
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "wandb"):
        shutil.rmtree(folder / name, ignore_errors=True)


def begin_again(folder: Path) -> None:
    """Take out what a training left, for another one; the teacher's answers stay."""
    _forget(folder)
    (folder / "log.jsonl").unlink(missing_ok=True)
    for name in ("checkpoints", PREVIEWS, SEEDS):
        shutil.rmtree(folder / name, ignore_errors=True)


def differences(before: config.Experiment, now: config.Experiment) -> list[str]:
    """Keys in which two experiments differ so that they are not the same run."""
    return _differences(_compared(before), _compared(now))


def _compared(experiment: config.Experiment) -> dict[str, Any]:
    """What makes a run the same; its folder may move, and evidence and allowances grow."""
    growing = {"out", "allow_failed", "allow_overlap", "evidence", "seeds", "baselines"}
    return config.whole_paths(experiment.model_dump(mode="json", exclude=growing))


def _differences(first: Any, second: Any, key: str = "") -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        names = dict.fromkeys([*first, *second])
        return [
            difference
            for name in names
            for difference in _differences(
                first.get(name), second.get(name), f"{key}.{name}" if key else name
            )
        ]
    return [] if first == second else [key]
