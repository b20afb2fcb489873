"""Whether what a student learns from has already seen the images that it is tested on."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from abbe import config
from abbe.caveats import repeated_caveat
from abbe.datasets import Dataset
from abbe.datasets.fingerprints import channel_digests, trained_on, write_digests
from abbe.errors import InputError, MissingExtraError, PackageError
from abbe.foreign_text import shown
from abbe.runs.from_python import kind_of_teacher
from abbe.runs.lost import Lost
from abbe.runtime.package import located
from abbe.summary import OWN_DATA, TRAINED_ON, Overlap
from abbe.targets import TargetStore

_OF_ABBE = ("config.yaml", "package.json")
"""What lies beside a network of Abbe's."""


def require_unseen(experiment: config.Experiment, dataset: Any, lost: Lost) -> None:
    """Refuse a teacher, or weights to begin with, that were trained on images of the test.

    What was allowed, and what cannot be known, is noted in ``lost.overlaps``; so are test images
    that the run itself trains or validates on, by another name.

    Args:
        experiment: of the run.
        dataset: its images; nothing is looked for in what is no `Dataset`.
        lost: with the digests of the images that were read.

    Raises:
        InputError: there are such images, and the experiment does not allow it.
    """
    if isinstance(dataset, Dataset):
        _note_repeated(experiment, dataset, lost)
        found = ((key, _place(path, kind)) for key, path, kind in _sources(experiment))
        _require_unseen(found, dataset, lost, allowed=experiment.allow_overlap)


def _note_repeated(experiment: config.Experiment, dataset: Dataset, lost: Lost) -> None:
    """Warn of test images with the very pixels of others that are not tested on.

    A run that goes on has read none of them; what it trains on stands in its list.
    """
    others = {(dataset.name, r.id) for r in dataset if r.split not in ("train", "val")}
    used = [each for key, each in lost.digests.items() if key not in others]
    known = frozenset().union(*used) if used else trained_on(experiment.out) or frozenset()
    tests = dataset.split("test") if known else ()
    seen = [record.id for record in tests if not known.isdisjoint(_of(record, dataset, lost))]
    if seen:
        repeated = Overlap(source=OWN_DATA, images=len(seen), example=seen[0])
        lost.overlaps.append(repeated)
        print(
            shown(f"warning: {repeated_caveat(repeated)} 'abbe data check' names them"), flush=True
        )


def require_unseen_by_run(
    run: Path,
    experiment: config.Experiment,
    store: Path,
    dataset: Dataset,
    lost: Lost,
    *,
    allowed: bool,
) -> None:
    """Refuse to evaluate a run on images that it, or what it learned from, was trained on.

    What was allowed, and what cannot be known, is noted in ``lost.overlaps``.

    Args:
        run: its folder.
        experiment: of the run.
        store: of its teacher's answers, which may know what the teacher was trained on when that
            lies elsewhere by now.
        dataset: that it is evaluated on.
        lost: with the digests of the images that were read.
        allowed: whether there may be such images.

    Raises:
        InputError: there are such images, and that is not allowed.
    """
    _require_unseen(_sources_of_run(run, experiment, store), dataset, lost, allowed=allowed)


def _require_unseen(
    sources: Iterable[tuple[str, Path]], dataset: Dataset, lost: Lost, *, allowed: bool
) -> None:
    for key, path in sources:
        known = trained_on(path)
        if known is None:
            if _is_ours(path):
                lost.overlaps.append(Overlap(source=key))
            continue
        tests = dataset.split("test")
        seen = [record.id for record in tests if not known.isdisjoint(_of(record, dataset, lost))]
        if not seen:
            continue
        if not allowed:
            raise InputError(
                f"{key}: {path} was trained or validated on {len(seen)} of the {len(tests)} test "
                f"images of data set '{dataset.name}', such as '{seen[0]}': scores on them would "
                "flatter it and what learned from it. Draw other splits (data.split, "
                "data.split_seed), or go on with --allow-overlap; the report says so then"
            )
        lost.overlaps.append(Overlap(source=key, images=len(seen), example=seen[0]))


def write_trained_on(folder: Path, dataset: Any, tiles: Dataset | None, lost: Lost) -> None:
    """Write the list of the images that a run trains and validates on, as they were read.

    Args:
        folder: of the run. A list that is there stays: a resumed run does not read all again.
        dataset: of the run.
        tiles: that an encoder is pretrained on.
        lost: with the digests.
    """
    if (folder / TRAINED_ON).exists() or not isinstance(dataset, Dataset) or not lost.digests:
        return
    used = [(dataset.name, record.id) for record in dataset if record.split in ("train", "val")]
    used += [(tiles.name, record.id) for record in tiles or ()] if tiles is not None else []
    write_digests(folder / TRAINED_ON, (lost.digests[key] for key in used if key in lost.digests))


def hand_on(store: Path, *teachers: config.Teacher) -> None:
    """Keep beside answers what their teachers were trained on, where that is known of any.

    Raises:
        PackageError: a teacher is a package of the hub, which cannot be fetched.
    """
    places = [_place(path, kind) for each in teachers for _, path, kind in _teachers(each)]
    known = [found for path in places if (found := trained_on(path))]
    if known and store.is_dir():
        write_digests(store / TRAINED_ON, ([each] for each in frozenset().union(*known)))


def _sources(experiment: config.Experiment) -> Iterator[tuple[str, Path, str | None]]:
    """Key, path and kind of what was trained before; nothing is known of fetched weights.

    What a student begins from may be a package as well as a file.
    """
    yield from _teachers(experiment.teacher)
    weights = experiment.student.encoder_weights
    if isinstance(weights, Path):
        yield "student.encoder_weights", weights, "package"
    if experiment.promptable.baseline is not None:
        yield "promptable.baseline", experiment.promptable.baseline, "package"


def _teachers(settings: config.Teacher) -> Iterator[tuple[str, Path, str | None]]:
    """Key, path and kind of each teacher; one of finished masks was no network of ours."""
    if settings.path is not None and settings.kind not in ("none", "masks"):
        yield "teacher.path", settings.path, settings.kind
    for path in settings.also:
        yield "teacher.also", path, kind_of_teacher(path)


def _place(path: Path, kind: str | None) -> Path:
    """Where it lies. Packages may be named; a network of another program may have such a name."""
    return located(path) if kind == "package" else path


def _sources_of_run(
    run: Path, experiment: config.Experiment, store: Path
) -> Iterator[tuple[str, Path]]:
    """The run itself, and what was trained before it, as far as that is still to be found."""
    yield "the run", run
    told, several = (store / TRAINED_ON).is_file(), bool(experiment.teacher.also)
    for key, path, kind in _sources(experiment):
        by_store = told and key in ("teacher.path", "teacher.also")
        if by_store:
            yield key, store
        if by_store and not several:
            continue
        try:
            place = _place(path, kind)
        except (PackageError, MissingExtraError):  # a repository, out of reach by now
            place = path
        if not by_store or trained_on(place) is None:  # the store has what the others told
            yield key, place


def _is_ours(path: Path) -> bool:
    """Whether a run of Abbe's trained it, so that what it saw should be known."""
    if (path / "zarr.json").is_file():
        notes = TargetStore(path).provenance.notes
        return any(note.startswith("trained by Abbe") for note in notes)
    folder = path if path.is_dir() else path.parent
    return path.exists() and any((folder / name).is_file() for name in _OF_ABBE)


def _of(record: Any, dataset: Dataset, lost: Lost) -> tuple[str, ...]:
    """Digests of a test image; of a run that goes on it was read before, and is read again."""
    key = (dataset.name, record.id)
    if key not in lost.digests:
        lost.digests[key] = channel_digests(record.image.open(), dataset.channels)
    return lost.digests[key]
