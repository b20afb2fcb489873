"""From the experiment file to plain objects: data sets, teachers, networks, schedules."""

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abbe import config, datasets
from abbe.datasets import Dataset, Record
from abbe.datasets.class_check import is_of_classes
from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.imaging.channels import RGB, lacking
from abbe.machine.threads import cores
from abbe.near import meant
from abbe.registry import DATASETS, TEACHERS, traits_of
from abbe.remote import as_remote
from abbe.remote.cache import folder_copy, local_copy
from abbe.targets import TargetStore
from abbe.teachers import SeveralTeachers, Teacher, several, turned

if TYPE_CHECKING:
    from torch import nn

    from abbe.datasets.training.batches import Batches
    from abbe.datasets.training.prepare import Prepared
    from abbe.students import Standardisation
    from abbe.training.stage import Schedule


def build_dataset(data: config.Data) -> Dataset:
    """The data set with its splits, and with labels on the chosen training images only.

    Raises:
        ConfigError: the data set was given from Python and is not in the file.
        InputError: something is wrong with the files; see :mod:`abbe.datasets`.
    """
    return choose_labels(split(collect(data), data), data)


def collect(data: config.Data) -> Dataset:
    """The data set as it lies there, without new splits."""
    if data.kind == "given":
        raise ConfigError(
            "data: this experiment names no data set. Give --data.path FOLDER, or another "
            "--data.kind with what it needs"
        )
    reader = DATASETS[data.kind]
    names = inspect.signature(reader).parameters
    if data.path is not None:
        _refuse_what_is_not_read(data, names)
    dataset: Dataset = reader(data) if "data" in names else reader(**_read_keys(data, names))
    if data.channels not in (None, dataset.channels) and "channels" not in names:
        raise ConfigError(
            f"data.channels: '{data.kind}' has the channels {', '.join(dataset.channels)}; "
            "leave the key out"
        )
    return dataset.where(**data.where) if data.where else dataset


_CONTENTS = frozenset(
    ("channels", "labels", "ignore", "types", "classes", "class_colours", "group", "pixel_size",
     "override_pixel_size")
)  # fmt: skip
"""Keys about what is in the images; most sets know it themselves."""
_NOT_FOR = {"classes": ("classes",), "tissuenet": ("pixel_size",)}
"""By kind, keys that its function takes from Python alone."""


def _keys_of(data: config.Data, names: Collection[str]) -> set[str]:
    """The keys of ``data`` that are read of its kind; slides take all about contents but labels
    and pictures."""
    if "data" in names:
        return {"channels", "pixel_size", "override_pixel_size", "classes", "group"}
    return {key for key in names if key not in _NOT_FOR.get(data.kind, ())}


def _read_keys(data: config.Data, names: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The arguments of a reader: what is given, and what it has no default for."""
    values = {key: getattr(data, key) for key in config.Data.model_fields}
    usual = {key: field.default for key, field in config.Data.model_fields.items()}
    values |= {"label": data.objects}
    return {
        key: values[key]
        for key in _keys_of(data, names) & values.keys()
        if names[key].default is inspect.Parameter.empty or values[key] != usual.get(key)
    }


def _refuse_what_is_not_read(data: config.Data, names: Collection[str]) -> None:
    """A key that changes nothing must not look as if it did.

    Raises:
        ConfigError: one is given.
    """
    usual = config.Data.model_fields
    read = _CONTENTS & _keys_of(data, names)
    for key in sorted(_CONTENTS - (read or {"channels"})):  # a set's own channels may be named
        if getattr(data, key) != usual[key].default:
            raise ConfigError(
                f"data.{key}: is not read of a data set of kind '{data.kind}': leave it out, "
                "or give data.kind 'folder' (images/, labels/, types/), which reads it, and groups "
                "and classes from an index.csv with the columns image, class and the group's"
            )


def split(dataset: Dataset, data: config.Data, *, by_class: bool | None = None) -> Dataset:
    """Assign train, val and test as ``data.split`` says; ``by_class``: see `assign_splits`."""
    fractions: dict[str, float] = dict(zip(("train", "val", "test"), data.fractions, strict=True))
    if data.split == "auto" and any(record.split for record in dataset):
        datasets.require_whole_groups(dataset)
        return dataset
    if data.split in ("auto", "fraction"):
        return datasets.assign_splits(
            dataset, fractions=fractions, seed=data.split_seed, by_class=by_class
        )
    if data.split.endswith(".csv"):
        return datasets.assign_splits(dataset, file=Path(data.split))
    return datasets.assign_splits(dataset, column=data.split)


def choose_labels(dataset: Dataset, data: config.Data) -> Dataset:
    """Keep the labels of ``data.labelled`` training and ``data.validation_labels`` validation
    images; test images keep theirs.
    """
    dataset = datasets.choose_validated(dataset, data.validation_labels, seed=data.split_seed)
    if data.labelled == "all":
        return dataset
    return datasets.choose_labelled(dataset, data.labelled, seed=data.split_seed)


def labels_in_words(dataset: Dataset, data: config.Data) -> str | None:
    """How many labels a run uses, where ``data`` leaves some out; None where it uses all.

    Raises:
        InputError: as `build_dataset`.
    """
    if data.labelled == "all" and data.validation_labels == "all":
        return None
    by_class = is_of_classes(dataset)
    divided = split(dataset, data, by_class=by_class or None)
    if by_class:
        chosen = datasets.choose_validated(
            divided, data.validation_labels, data.split_seed, by_class=True
        )
        chosen = datasets.keep_labels(chosen, data.labelled, data.split_seed)
    else:
        chosen = choose_labels(divided, data)

    def count(part: Dataset) -> int:
        return sum(datasets.class_counts(part).values()) if by_class else len(part.annotated)

    training = f"{count(chosen.split('train'))} of {count(divided.split('train'))} to train"
    choosing = f"{count(chosen.split('val'))} of {count(divided.split('val'))}"
    return f"labels that a run uses: {training}, {choosing} to choose weights and thresholds"


def held_out(records: Sequence[Record], experiment: config.Experiment) -> list[Record]:
    """Of the labelled validation images, those that choose weights: the same for all networks."""
    return datasets.first_spread(
        records, experiment.training.validation_images, experiment.data.split_seed
    )


def require_trust(teacher: config.Teacher, *, trust_code: bool) -> None:
    """Refuse to run code that a file names, unless the user said beside the file that it may run.

    Raises:
        ConfigError: the teacher is code, and ``trust_code`` is false.
    """
    if traits_of(teacher.kind).runs_code and not trust_code:
        raise ConfigError(
            f"teacher.path: '{teacher.path}' names Python code, which would be imported and "
            "called; nothing of it was. If you trust it, give --trust-code (in Python: "
            "trust_code=True)"
        )


def build_teacher(
    teacher: config.Teacher, dataset: Dataset, *, trust_code: bool = False
) -> Teacher:
    """The teacher, reading the channels it is told to.

    Raises:
        ConfigError: an option is unknown, or the teacher is code that is not trusted.
        InputError: the teacher's files are missing or damaged.
    """
    require_trust(teacher, trust_code=trust_code)
    factory = TEACHERS[teacher.kind]
    known = list(inspect.signature(factory).parameters)[2:]
    options: dict[str, Any] = dict(teacher.options)
    if "labels" in known:  # prompts may come from the labels that the data set has
        options.setdefault("labels", dataset)
    unknown = [name for name in teacher.options if name not in known]
    if unknown:
        raise ConfigError(
            f"teacher.options: a teacher of kind '{teacher.kind}' has no option "
            f"{', '.join(unknown)}; it has: {', '.join(known)}.{meant(unknown[0], known)}"
        )
    input_channels = teacher.input_channels
    if input_channels is None and traits_of(teacher.kind).reads_all:
        input_channels = dataset.channels
    built = factory(_file_of(teacher), input_channels, **options)
    return turned(built) if teacher.tta else built


_READ_IN_PARTS = ("masks", "store")
"""Teachers that need no copy of what lies behind a URL."""


def _file_of(teacher: config.Teacher) -> Path | None:
    """Where the teacher is; of a network behind a URL, the copy here."""
    remote = as_remote(teacher.path)
    if remote is None or teacher.kind in _READ_IN_PARTS:
        return teacher.path
    return folder_copy(remote) if remote.is_dir() else local_copy(remote)


def build_mean(
    places: Sequence[Path], dataset: Dataset, data: config.Data | None
) -> SeveralTeachers:
    """The mean of the answers in several stores; see `abbe.teachers.several`.

    Args:
        places: of the stores.
        dataset: that they answer for, as it lies there.
        data: says how it is split; None: it has its splits, if any.

    Raises:
        StoreError: they cannot be combined, or one of them is damaged.
        InputError: the data set has labels and cannot be split.
    """
    divided = dataset
    if data is not None and len(dataset.labelled):
        divided = choose_labels(split(dataset, data), data)
    labelled = divided.split("val").labelled.records
    return several([TargetStore(path) for path in places], dataset.channels, labelled)


def standardisation_of(student: config.Student) -> "Standardisation | None":
    """What the encoder wants done to images in [0, 1], where the experiment says it."""
    from abbe.students import Standardisation

    if student.encoder_mean is None or student.encoder_std is None:
        return None
    return Standardisation(student.encoder_mean, student.encoder_std)


def build_schedule(training: config.Training) -> "Schedule":
    """The schedule of a stage, once `schedules.resolve` has made numbers of its length and rate."""
    from abbe.training.stage import Schedule

    assert training.steps is not None
    assert training.learning_rate != "auto"
    return Schedule(
        steps=training.steps,
        learning_rate=training.learning_rate,
        final_learning_rate=training.final_learning_rate,
        warmup=training.warmup,
        weight_decay=training.weight_decay,
        clip=training.clip,
        ema=training.ema,
        validate_every=training.validate_every,
        patience=training.patience,
        sync_batch_norm=training.sync_batch_norm,
    )


def build_batches(
    images: "Sequence[Prepared]",
    training: config.Training,
    *,
    input_channels: Sequence[str],
    seed: int,
    rank: int = 0,
    processes: int = 1,
    **others: Any,
) -> "Batches":
    """Random crops of the training images; ``others`` go before what ``training`` says."""
    from abbe.datasets.training.batches import Batches

    augmentation = training.augmentation
    options: dict[str, Any] = {
        "batch_size": training.batch_size,
        "crop": training.crop,
        "labelled_share": training.labelled_share,
        "scale": augmentation.scale,
        "flips": augmentation.flips,
        "gamma": augmentation.gamma,
        "brightness": augmentation.brightness,
        "noise": augmentation.noise,
        "blur": augmentation.blur,
    }
    return Batches(
        images,
        input_channels=input_channels,
        seed=seed,
        rank=rank,
        processes=processes,
        **options | others,
    )


def build_weighting(
    loss: config.Loss, shares: Mapping[str, float] | None = None
) -> "Callable[[list[str]], nn.Module]":
    """What joins the terms; a fixed weight that is not given is 1, or 0.5 for boundaries.

    Args:
        loss: says how terms are weighted.
        shares: how much of a term counts whatever its weight, from 0 to 1; 1 where nothing is said.
    """
    from abbe import losses

    shares = shares or {}
    if loss.weighting == "uncertainty":
        return lambda names: losses.UncertaintyWeighting(
            names, shares={name: shares.get(name, 1.0) for name in names}
        )

    def fixed(names: list[str]) -> "nn.Module":
        usual = {name: 0.5 if name.endswith("boundary") else 1.0 for name in names}
        weights = {name: loss.weights.get(name, usual[name]) for name in names}
        return losses.FixedWeighting(
            {name: weight * shares.get(name, 1.0) for name, weight in weights.items()}
        )

    return fixed


def processes() -> int:
    """How many processes train together, started by accelerate or torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def workers(wanted: int | str) -> int:
    """One process that prepares batches for every two cores, at most eight."""
    return wanted if isinstance(wanted, int) else min(8, max(1, cores() // 2))


def channels_of(student: config.Student, dataset: Dataset) -> tuple[str, ...]:
    """The channels that the student reads of these images, in the place of ``auto``."""
    if student.input_channels != ("auto",):
        return student.input_channels
    in_colour = set(dataset.channels) == set(RGB)
    return RGB if in_colour else ("nucleus",)


def with_channels(experiment: config.Experiment, dataset: Dataset) -> config.Experiment:
    """The experiment with channels in the place of ``auto``; a line says so of colours."""
    student, channels = experiment.student, channels_of(experiment.student, dataset)
    if channels == student.input_channels:
        return experiment
    if channels == RGB:
        print("the student sees red, green and blue: the images are in colour", flush=True)
    changed = student.model_copy(update={"input_channels": channels})
    return experiment.model_copy(update={"student": changed})


def with_types(experiment: config.Experiment, dataset: Dataset) -> config.Experiment:
    """The experiment with the data set's classes in the place of ``student.types auto``.

    Raises:
        InputError: types are asked for that no label of the data set tells.
    """
    student = experiment.student
    if not student.types:
        return experiment
    known = tuple(dataset.classes) if any(r.types is not None for r in dataset) else ()
    types = known if student.types == ("auto",) else student.types
    if not known:
        raise InputError(
            f"student.types: data set '{dataset.name}' does not say of what type its objects are. "
            "Name the folder of their types (data.types) and what its numbers mean (data.classes)"
        )
    if unknown := [name for name in types if name not in known]:
        raise InputError(
            f"student.types {', '.join(unknown)}: the classes of data set '{dataset.name}' are "
            f"{', '.join(known)}"
        )
    if len(types) < 2:
        raise InputError(
            f"student.types {', '.join(types)}: there is nothing to tell apart. Leave it out"
        )
    changed = student.model_copy(update={"types": types})
    return experiment.model_copy(update={"student": changed})


def seen_by(
    dataset: Dataset, input_channels: Sequence[str], who: str, advice: str = "change what is seen"
) -> Dataset:
    """The data set with the names for channels by which it is seen, and a line on what that took.

    Raises:
        InputError: as `check_channels`.
    """
    named = dataset.seen_as(input_channels)
    check_channels(named, input_channels, who, advice)
    if named is not dataset:
        print(shown(f"{dataset.name}: {named.notes[-1]}"), flush=True)
    return named


def tell_problems(dataset: Dataset) -> None:
    """Print what was amiss when the images were listed, a line each."""
    for problem in dataset.problems:
        print(shown(f"warning: {problem}"), flush=True)


def check_channels(
    dataset: Dataset, input_channels: Sequence[str], who: str, advice: str = "change what is seen"
) -> None:
    """Refuse channels that the images do not have.

    Args:
        dataset: the images.
        input_channels: the channels that are looked at.
        who: looks at them, for the message.
        advice: what to do but naming the images' channels.

    Raises:
        InputError: naming the missing channels and those that exist.
    """
    missing = [name for name in input_channels if name not in dataset.channels]
    if missing and len(dataset.channels) == 1 and set(RGB) <= set(input_channels):
        source = f"an image of data set '{dataset.name}'"
        raise InputError(lacking(source, dataset.channels, input_channels, who, advice))
    if missing:
        colours = set(RGB) <= set(dataset.channels)  # grey is no misspelt green
        raise InputError(
            f"{who} is to see {', '.join(missing)}, but the images of '{dataset.name}' have the "
            f"channels {', '.join(dataset.channels)}: name them with data.channels, or "
            f"{advice}.{'' if colours else meant(missing[0], dataset.channels)}"
        )
