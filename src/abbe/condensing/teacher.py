"""Which teacher a word means, and whether it fits the images."""

from pathlib import Path
from typing import Any

from abbe import config
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.near import meant_beside
from abbe.registry import TEACHERS
from abbe.runs import build
from abbe.runs.from_python import TeacherLike, kind_of_teacher, teacher_section
from abbe.runtime.package.places import shipped
from abbe.runtime.predictors.prompt_files import mask_files
from abbe.targets import TargetStore

USUAL = {"cellpose": "cpsam_v2"}
"""Teachers that are meant by their kind alone, and their models."""


def section_of(teacher: TeacherLike | None) -> dict[str, Any]:
    """A teacher as the section of an experiment file: of a path, what lies there says the kind.

    A folder that is nothing else is one of masks. ``KIND:PATH`` says the kind, as in
    ``sam:sam_vit_b.pth``; ``cellpose`` means its usual model.

    Raises:
        ConfigError: there is nothing, or it does not say what it is.
    """
    if teacher is None:
        return {}
    if not isinstance(teacher, str | Path):
        return teacher_section(teacher, None)
    text = str(teacher)
    kind, colon, rest = text.partition(":")
    if colon and rest and kind in TEACHERS:
        return {"kind": kind, "path": rest}
    if text in USUAL:
        return {"kind": text, "path": USUAL[text]}
    path = Path(teacher)
    found = kind_of_teacher(path) or ("masks" if path.is_dir() else None)
    if found is not None:
        return {"kind": found, "path": text}
    there = "does not say what it is" if path.exists() else "is not there"
    raise ConfigError(
        f"--teacher {text}: {there}. Give a folder of masks, a run, a package or its name, an ONNX "
        f"file, a target store, a bioimage.io package; or KIND:PATH, such as sam:{text}, with a "
        f"kind of {', '.join(TEACHERS)}.{meant_beside(path, [*shipped(), *USUAL])}"
    )


def without_masks(teacher: config.Teacher, dataset: Dataset) -> list[str]:
    """Of a teacher that is a folder of masks, the images that have none; else nothing.

    Raises:
        InputError: no image has one.
    """
    if teacher.kind != "masks":
        return []
    assert teacher.path is not None  # the section demands it
    known = mask_files(teacher.path, str(teacher.options.get("suffix", "")))
    lacking = [id for id in dataset.ids if id not in known]
    if len(lacking) == len(dataset):
        raise InputError(
            f"--teacher {teacher.path}: no mask is named like an image: there is "
            f"'{next(iter(known))}', and the first image is '{dataset.ids[0]}'. Name each mask "
            "like its image, or say what follows: --teacher.options suffix _masks"
        )
    return lacking


def channels_of(teacher: config.Teacher, dataset: Dataset, *, trust_code: bool) -> tuple[str, ...]:
    """The channels that a teacher reads of the images; see that it can.

    Raises:
        InputError: the images lack one, or the teacher's files are missing or damaged.
        ConfigError: an option is unknown, or the teacher is code that is not trusted.
    """
    if teacher.kind == "store":
        assert teacher.path is not None  # the section demands it
        store = TargetStore(teacher.path)
        if set(store.ids).isdisjoint(dataset.ids):
            raise InputError(f"{teacher.path}: holds no answer for any image of '{dataset.name}'")
        return store.provenance.channels
    channels = build.build_teacher(teacher, dataset, trust_code=trust_code).provenance.channels
    build.check_channels(
        dataset.seen_as(channels),
        channels,
        "the teacher",
        "name others with --teacher.input-channels",
    )
    return tuple(channels)
