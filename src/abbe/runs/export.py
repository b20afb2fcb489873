"""A finished run becomes a package."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from abbe import students
from abbe.datasets import Dataset
from abbe.errors import ConfigError
from abbe.exporting.folder import check_free, check_new_file
from abbe.exporting.formats.bioimageio import check_request, write_bioimageio
from abbe.exporting.formats.torchscript import write_torchscript
from abbe.exporting.request import ExportRequest
from abbe.exporting.unfinished import Unfinished
from abbe.exporting.write import write_package
from abbe.files import sha256_of_file
from abbe.registry import TASKS
from abbe.runs.export_inputs import classification, instances, promptable, semantic
from abbe.runs.export_inputs.common import ExportInput, Source, dataset_of
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runtime.package import Package

_TELLS_CLASSES = (
    "is written for students that find objects; this one tells classes apart. Leave it out: the "
    "package's model.onnx is what other programs read"
)
_OF_CLASSES = {
    "halo": "is for students that find objects; leave it out",
    "bioimageio": _TELLS_CLASSES,
    "torchscript": _TELLS_CLASSES,
}
_SEES_WHOLE = "not for a promptable package, which sees each image whole. Leave it out"


@dataclass(frozen=True)
class TaskExport:
    """How runs of a task become packages.

    Attributes:
        read: From the run to what the writer takes.
        unsupported: Options that do not fit the task: by name, why.
    """

    read: Callable[[Source], ExportInput]
    unsupported: Mapping[str, str] = field(default_factory=dict)


EXPORTS: dict[str, TaskExport] = {
    "instances": TaskExport(instances.export_input),
    "classification": TaskExport(
        classification.export_input,
        {**_OF_CLASSES, "context": "tiles that are classified have none; leave it out"},
    ),
    "semantic": TaskExport(semantic.export_input, _OF_CLASSES),
    "promptable": TaskExport(
        promptable.export_input,
        unsupported=dict.fromkeys(
            ("budget_ms", "tile", "halo", "context", "pixel_size", "bioimageio", "torchscript"),
            _SEES_WHOLE,
        ),
    ),
}
"""By task."""


def export_run(
    run: Run | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    request: ExportRequest | None = None,
    *,
    dataset: Dataset | None = None,
    data_path: Path | None = None,
    say: Callable[[str], None] = print,
) -> Package:
    """Export the student of a finished run, and check that the package answers alike.

    Args:
        run: The run, or its folder.
        out: The package, a folder to make; None for ``package`` in the run's folder.
        request: What is asked for, such as ``ExportRequest(int8="required", budget_ms=20)``.
        dataset: The images, for a run whose data set was given from Python.
        data_path: Where the images are now, if they were moved.
        say: Told of each step, in a line.

    Raises:
        InputError: The run is not finished, its weights or images are missing.
        ConfigError: ``out`` is taken, an option is out of its range or does not fit the run, or
            nothing meets the time budget.
        PackageError: The package would lose more than the budget.
    """
    run = run if isinstance(run, Run) else open_run(run)
    require_student(run)
    out = Path(out) if out is not None else run.folder / "package"
    request = request or ExportRequest()
    request.check()
    experiment = read_experiment(run.folder)
    _check_data_path(data_path, experiment.data.kind, dataset)
    task = EXPORTS[run.summary.task]
    request.refuse(task.unsupported)
    beside = request.bioimageio is not None or request.torchscript is not None
    unfinished = None
    if beside:
        unfinished = Unfinished(out, {**request.as_json(), "student": sha256_of_file(run.student)})
    package = None if unfinished is None else unfinished.package()
    if package is None:
        check_free(out)
        _check_beside(request)
        dataset = dataset or dataset_of(experiment, run, data_path, TASKS[run.summary.task].collect)
        found = task.read(Source(run, experiment, dataset, request, out.name))
        if unfinished is not None:
            unfinished.begin()
        weights = run.student
        package = write_package(
            out, found.student, weights, found.facts, found.images, request, say
        )
    else:
        say(f"{out}: was made by the same call; what was to follow it is written now")
    _write_beside(run, package, request, say)
    if unfinished is not None:
        unfinished.end()
    return package


def _check_data_path(data_path: Path | None, kind: str, dataset: Dataset | None) -> None:
    """Refuse a place of images that is not there, or that would not be looked at."""
    if data_path is None:
        return
    if dataset is not None:
        raise ConfigError(f"--data-path {data_path}: the data set itself is given. Leave it out")
    if kind == "simulated":
        raise ConfigError(
            f"--data-path {data_path}: this run's images are simulated, and made again for the "
            "export. Leave it out"
        )
    if not data_path.exists():
        raise ConfigError(f"--data-path {data_path}: there is no such folder. Check the path")


def _check_beside(request: ExportRequest) -> None:
    """Refuse what could not be written beside the package, before any work."""
    if request.bioimageio is not None:
        check_request(request.bioimageio, request.licence)
    if request.torchscript is not None:
        check_new_file(request.torchscript, ".pt", "--torchscript")


def _write_beside(
    run: Run, package: Package, request: ExportRequest, say: Callable[[str], None]
) -> None:
    """Write what other programs read, unless an earlier call has done so."""
    script, zipped = request.torchscript, request.bioimageio
    if script is not None and not script.exists():
        network, _ = students.load(run.student)
        write_torchscript(network, script, network.in_channels, network.divisor)
        say(f"TorchScript: {script}")
    if zipped is not None and not zipped.exists():
        write_bioimageio(
            package, zipped, authors=request.authors, licence=request.licence, torchscript=script
        )
        say(f"bioimage.io package, which passes bioimageio.core's test: {zipped}")
