"""A finished run becomes a package."""

import os
from collections.abc import Callable
from contextlib import ExitStack
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
from abbe.near import meant_beside
from abbe.registry import EXPORTS, TASKS
from abbe.remote.folders import worked_on
from abbe.runs.export_inputs.common import Source, TaskExport, dataset_of
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runtime.package import Package


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
    request = request or ExportRequest()
    request.check()
    with ExitStack() as stack:
        if not isinstance(run, Run):
            run = open_run(stack.enter_context(worked_on(run)))
        place = run.folder / "package" if out is None else stack.enter_context(worked_on(out))
        return _export(run, place, request, dataset, data_path, say)


def _export(
    run: Run,
    out: Path,
    request: ExportRequest,
    dataset: Dataset | None,
    data_path: Path | None,
    say: Callable[[str], None],
) -> Package:
    experiment = read_experiment(run.folder)
    _check_data_path(data_path, experiment.data.kind, dataset)
    require_student(run)
    task = run.summary.task
    if task not in EXPORTS:
        raise ConfigError(f"{run.folder}: a student of the task '{task}' becomes no package")
    how: TaskExport = EXPORTS[task]
    request.refuse(how.unsupported)
    beside = request.bioimageio is not None or request.torchscript is not None
    unfinished = None
    if beside:
        unfinished = Unfinished(out, {**request.as_json(), "student": sha256_of_file(run.student)})
    package = None if unfinished is None else unfinished.package()
    if package is None:
        check_free(out)
        _check_beside(request)
        dataset = dataset or dataset_of(experiment, run, data_path, TASKS[task].collect)
        dataset = dataset.without(run.summary.left_out)
        found = how.read(Source(run, TASKS[task], experiment, dataset, request, out.name))
        weights = run.student
        package = write_package(
            out, found.student, weights, found.facts, found.images, request, say
        )
        if unfinished is not None:
            unfinished.begin()
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
        raise ConfigError(
            f"--data-path {data_path}: there is no such folder.{meant_beside(data_path)}"
        )


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
