"""The verbs as Python calls: ``abbe.teach``, ``abbe.distill`` and ``abbe.curve``."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from abbe import config, teachers
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.recipes.shipped import recipe_path
from abbe.runs.folder import Run
from abbe.targets import TargetStore
from abbe.teachers import Teacher

if TYPE_CHECKING:
    from abbe.curves.curve import Curve


def teach(
    teacher: Teacher,
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    allow_failed: int = 0,
    progress: bool = True,
) -> TargetStore:
    """Have a teacher answer for every image, once, and open the store of its answers.

    Args:
        teacher: from :mod:`abbe.teachers`.
        dataset: the images.
        path: the target store to make or to continue.
        allow_failed: how many images may fail; their reasons are printed.
        progress: show a progress bar.

    Raises:
        InputError: the teacher failed on more images; the store holds all the others, and the
            same call goes on from there.
    """
    report = teachers.teach(teacher, dataset, path, progress=progress)
    if len(report.failed) > allow_failed:
        raise InputError(f"{path}: {report.summary()}")
    if report.failed:
        print(f"warning: {path}: {report.summary()}", flush=True)
    return TargetStore(path)


def distill(
    recipe: str,
    dataset: Dataset,
    targets: TargetStore | str | os.PathLike[str],
    *,
    student: str,
    sees: Sequence[str],
    encoder_weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
) -> Run:
    """Distil from a target store, as ``abbe distill`` does.

    Args:
        recipe: name of a shipped recipe, or an experiment file.
        dataset: with splits (see :func:`abbe.datasets.assign_splits`).
        targets: a target store.
        student: architecture, such as 'unet-resnet18'.
        sees: the student's channels.
        encoder_weights: 'imagenet', 'random', or the path of a weight file.
        out: the run folder.
        changes: further keys of the experiment file, such as
            ``{"seed": 1, "training": {"steps": 500}}``.
        resume: finish a run that was interrupted.
        trust_code: a teacher of kind 'torch' in recipe or changes may run the code that it names.
        progress: show progress bars.

    Returns:
        The finished run, with ``gain`` and ``retention``.

    Raises:
        AbbeError: whatever the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.runs.distill import distill as carry_out

    own = _sections(targets, student, sees, encoder_weights)
    values = _merged(config.read_values(recipe_path(recipe)), own, changes, out)
    experiment = config.parse(values, f"{recipe} from Python")
    return carry_out(
        experiment, dataset=dataset, resume=resume, trust_code=trust_code, progress=progress
    )


def curve(
    recipe: str,
    dataset: Dataset,
    targets: TargetStore | str | os.PathLike[str] | None,
    *,
    student: str,
    sees: Sequence[str],
    encoder_weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fractions: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    initialisations: Sequence[str] | None = None,
    pretrain_per_seed: bool = False,
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
) -> "Curve":
    """Train at growing shares of the labels and plot what they buy, as ``abbe curve`` does.

    Args:
        recipe: 'rckd' (initialisations are compared), 'cmkd' (student and twin), or an experiment
            file of either.
        dataset: with splits (see :func:`abbe.datasets.assign_splits`) and all its labels.
        targets: a target store; None where no initialisation has a teacher.
        student: architecture, such as 'unet-resnet18'.
        sees: the student's channels.
        encoder_weights: 'imagenet', 'random', or the path of a weight file.
        out: the folder of the curve.
        fractions: shares of the training labels; 0.01 to 1 where None.
        seeds: each draws its own labels, new layers and batches; 0, 1 and 2 where None.
        initialisations: of 'rckd': random, given, contrastive, rckd, rckd+contrastive; all that
            targets and weights allow where None.
        pretrain_per_seed: pretrain anew for each seed.
        changes: further keys of the experiment file.
        resume: finish a curve that was interrupted, or add to it.
        trust_code: a teacher of kind 'torch' in recipe or changes may run the code that it names.
        progress: show progress.

    Returns:
        The curve, with ``summary`` and the paths of table, picture and report.

    Raises:
        AbbeError: whatever the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.curves.curve import curve as carry_out
    from abbe.curves.plan import for_curve

    own = _sections(targets, student, sees, encoder_weights)
    values = for_curve(config.read_values(recipe_path(recipe)))
    experiment = config.parse(_merged(values, own, changes, out), f"{recipe} from Python")
    return carry_out(
        experiment,
        fractions=fractions,
        seeds=seeds,
        initialisations=initialisations,
        pretrain_per_seed=pretrain_per_seed,
        dataset=dataset,
        resume=resume,
        trust_code=trust_code,
        progress=progress,
    )


def _sections(
    targets: TargetStore | str | os.PathLike[str] | None,
    student: str,
    sees: Sequence[str],
    encoder_weights: str | os.PathLike[str],
) -> dict[str, Any]:
    """What is given as arguments, as the experiment file has it."""
    store = targets.path if isinstance(targets, TargetStore) else targets
    return {
        "teacher": {"kind": "none"} if store is None else {"kind": "store", "path": str(store)},
        "student": {
            "architecture": student,
            "sees": list(sees),
            "encoder_weights": str(encoder_weights),
        },
    }


def _merged(
    values: dict[str, Any],
    own: Mapping[str, Any],
    changes: Mapping[str, Any] | None,
    out: str | os.PathLike[str],
) -> dict[str, Any]:
    """The recipe's values, then the arguments, then the changes.

    Raises:
        ConfigError: The changes are about the data set, which is given as an object.
    """
    if changes and "data" in changes:
        raise ConfigError(
            "changes: 'data' is about data sets that are read from files, and this one is given. "
            "Use abbe.datasets.choose_labelled and assign_splits on it beforehand"
        )
    given = {f"{key}.{name}" for key, inner in (changes or {}).items() if isinstance(inner, Mapping)
             for name in inner}  # fmt: skip
    values = config.without_rivals(values, given)
    for section in (own, changes or {}):
        for key, inner in section.items():
            merged = isinstance(inner, Mapping)
            values[key] = {**values.get(key, {}), **inner} if merged else inner
    return values | {"out": str(out), "data": {"kind": "given"}}
