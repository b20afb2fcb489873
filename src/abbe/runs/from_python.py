"""From the arguments of a Python call to an experiment: sections of the file, data sets, paths."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from abbe import config
from abbe.config.section import Section
from abbe.datasets import Dataset
from abbe.errors import ConfigError
from abbe.recipes.shipped import CONFIG, values_of
from abbe.remote import as_path
from abbe.remote.urls import is_url, told
from abbe.runtime.package import DESCRIPTION, located, repository_of
from abbe.targets import TargetStore

Place = str | os.PathLike[str]
Keys = Mapping[str, Any]
"""Keys of a section of the experiment file, such as ``{"steps": 500}``."""
DataLike = Dataset | Place | Keys | config.Data
"""A data set, the folder of one, or the section ``data`` of the experiment file."""
TeacherLike = TargetStore | Place | Keys | config.Teacher | Sequence[TargetStore | Place]
"""A target store, what a teacher is read from, the section ``teacher``; or a list of several."""
StudentLike = str | Keys | config.Student
"""An architecture, or the section ``student``."""


class FurtherKeys(TypedDict, total=False):
    """Keys and sections of the experiment file that a recipe may read; see `abbe.config`."""

    title: str
    seed: int
    evidence: Literal["quick", "standard", "full"]
    baselines: Sequence[str] | Literal["auto"]
    allow_failed: int
    allow_overlap: bool
    loss: Keys
    promptable: Keys
    pretrain_data: Place | Keys
    pretraining: Keys
    fine_tuning: Keys
    training: Keys
    evaluation: Keys


class RunKeys(FurtherKeys, total=False):
    """Of a run; a curve names its seeds one by one."""

    seeds: int | Literal["auto"]


def local_folder(place: Place) -> Path:
    """A folder to write to, of this machine.

    Raises:
        ConfigError: it is a URL, of which a folder of that name would be made.
    """
    if is_url(place):
        raise ConfigError(f"out: {told(str(place))}: give a folder of this machine, and no URL")
    return Path(place)


def experiment_of(
    values: Keys,
    source: str,
    *,
    data: DataLike | None = None,
    teacher: TeacherLike | None = None,
    student: StudentLike | None = None,
    input_channels: Sequence[str] | None = None,
    encoder_weights: Place | None = None,
    out: Place | None = None,
    keys: FurtherKeys | None = None,
) -> tuple[config.Experiment, Dataset | None]:
    """The experiment that a file's values and the arguments make, and the data set if one is given.

    Args:
        values: of the experiment file.
        source: where they are from, for messages.
        data, teacher, student, input_channels, encoder_weights, out: see :func:`abbe.distill`.
        keys: further keys; they go before all others.

    Raises:
        ConfigError: as the same keys in a file; naming ``source``.
    """
    given: dict[str, Any] = {}
    if data is not None:
        given["data"] = data_section(data, values.get("data"))
    if teacher is not None:
        given["teacher"] = teacher_section(teacher, values.get("teacher"))
    elif not (values.get("teacher") or {}).get("path"):
        values = {key: value for key, value in values.items() if key != "teacher"}
    given["student"] = _student_section(student, input_channels, encoder_weights)
    if out is not None:
        given["out"] = os.fspath(out)
    further = config.without_twin({"recipe": values.get("recipe"), **(keys or {})})
    del further["recipe"]
    if "pretrain_data" in further:
        if isinstance(further["pretrain_data"], Dataset):
            raise ConfigError(
                "pretrain_data: tiles are read from a folder; give it, or keys such as "
                "{'kind': 'slides', 'path': 'slides/'}"
            )
        further["pretrain_data"] = data_section(further["pretrain_data"], None)
    given = _merged(given, further, config.Experiment)
    values = config.without_rivals(values, set(_dotted(given)))
    for name in ("data", "pretrain_data"):  # another set is another section, not a changed one
        if name in given:
            values = {key: value for key, value in values.items() if key != name}
    experiment = config.parse(_merged(values, given, config.Experiment), f"{source}, from Python")
    return experiment, data if isinstance(data, Dataset) else None


def values_for(recipe: Place) -> tuple[str, dict[str, Any]]:
    """The name and the values of a shipped recipe, an experiment file, or a run that was begun.

    Raises:
        ConfigError: there is no such file, or it is no experiment file.
    """
    source, values = values_of(os.fspath(recipe))
    return source.name, values


def data_section(data: DataLike, recipes: Keys | None) -> dict[str, Any]:
    """A data set or its folder as a section of the experiment file.

    A folder is read as the recipe's own section says, but for one that is made up or given.

    Raises:
        ConfigError: it is none of what may be given.
    """
    if isinstance(data, Dataset):
        return {"kind": "given"}
    if isinstance(data, config.Data):
        return data.model_dump(mode="json", exclude_defaults=True) | {"kind": data.kind}
    if isinstance(data, Mapping):
        return {**(recipes or {}), **data}
    if isinstance(data, str | os.PathLike):
        own = dict(recipes or {})
        if own.get("kind") in (None, "simulated", "given"):
            own["kind"] = "folder"
        return {**own, "path": os.fspath(data)}
    raise ConfigError(
        f"data: a data set of abbe.datasets, a folder, or keys such as {{'kind': 'tissuenet', "
        f"'path': 'tissuenet'}} are wanted, not {type(data).__name__}"
    )


def teacher_section(teacher: TeacherLike, recipes: Keys | None) -> dict[str, Any]:
    """A target store or what a teacher is read from, as a section of the experiment file.

    Of a path, what lies there says the kind: a target store, an earlier run, an ONNX file or a
    bioimage.io package; otherwise it is of the kind that the recipe names.

    Raises:
        ConfigError: the kind cannot be told, or it is none of what may be given.
    """
    if isinstance(teacher, list | tuple) and teacher:
        first, *others = teacher
        return {**teacher_section(first, recipes), "also": [os.fspath(each) for each in others]}
    if isinstance(teacher, TargetStore):
        return {"kind": "store", "path": str(teacher.path)}
    if isinstance(teacher, config.Teacher):
        return teacher.model_dump(mode="json", exclude_defaults=True) | {"kind": teacher.kind}
    if isinstance(teacher, Mapping):
        return dict(teacher)
    if not isinstance(teacher, str | os.PathLike):
        raise ConfigError(
            "teacher: a target store, a path, or keys such as {'kind': 'onnx', 'path': "
            f"'teacher.onnx'}} are wanted, not {type(teacher).__name__}. The answers of a teacher "
            "of abbe.teachers are stored with abbe.teach, and its store is given here"
        )
    own = {key: value for key, value in (recipes or {}).items() if key != "path"}
    path = as_path(teacher)
    kind = kind_of_teacher(path) or own.get("kind")
    if kind is None:
        raise ConfigError(
            f"teacher: {path} does not say what it is: give keys such as {{'kind': 'masks', "
            f"'path': '{path}'}}"
        )
    return {**own, "kind": kind, "path": os.fspath(teacher)}


def kind_of_teacher(path: Path) -> str | None:
    """What lies there, as ``teacher.kind``; None where it does not show."""
    if (path / "zarr.json").is_file() or path.suffix == ".zarr":
        return "store"
    if (path / CONFIG).is_file():
        return "run"
    if path.suffix == ".onnx":
        return "onnx"
    if any((path / name).is_file() for name in ("rdf.yaml", "bioimageio.yaml")):
        return "bioimageio"
    if repository_of(path) is not None or (located(path) / DESCRIPTION).is_file():
        return "package"
    return None


def _student_section(
    student: StudentLike | None, input_channels: Sequence[str] | None, encoder_weights: Place | None
) -> dict[str, Any]:
    section: dict[str, Any]
    if isinstance(student, config.Student):
        section = student.model_dump(mode="json", exclude_defaults=True)
    elif isinstance(student, Mapping):
        section = dict(student)
    else:
        section = {} if student is None else {"architecture": student}
    if input_channels is not None:
        section["input_channels"] = (
            [input_channels] if isinstance(input_channels, str) else list(input_channels)
        )
    if encoder_weights is not None:
        section["encoder_weights"] = os.fspath(encoder_weights)
    return section


def _merged(values: Keys, changes: Keys, section: type[Section]) -> dict[str, Any]:
    """The values with the changes; a section keeps the keys that are not changed."""
    merged = dict(values)
    for name, change in changes.items():
        field = section.model_fields.get(name)
        inner = None if field is None else config.section_of(field)
        if inner is not None and isinstance(change, Mapping):
            merged[name] = _merged(merged.get(name) or {}, change, inner)
        else:
            merged[name] = change
    return merged


def _dotted(values: Keys, above: str = "") -> list[str]:
    """All keys, such as ``training.steps``."""
    keys = []
    for name, value in values.items():
        keys.append(f"{above}{name}")
        if isinstance(value, Mapping):
            keys += _dotted(value, f"{above}{name}.")
    return keys
