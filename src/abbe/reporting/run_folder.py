"""Read what a run left in its folder; what is absent stays absent, what is damaged is named."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow
import pyarrow.parquet
import yaml

from abbe.errors import InputError
from abbe.files import parse_json
from abbe.files.arrays import read_arrays
from abbe.files.yaml_text import read_yaml
from abbe.summary import RunSummary

Content = TypeVar("Content")

# metric → model → image id → value; a value that is undefined for an image is not in here
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Example:
    """One test image with the instances that each model drew on it.

    ``image`` is (H, W, 3) uint8; ``labels`` holds (H, W) integer instances by name, ``truth``
    among them where there is one: 0 is background, negative is unknown. Of an image that has a
    class, ``said`` holds the class that each gave it, in words.
    """

    rank: int
    kind: str
    image_id: str
    image: np.ndarray
    labels: Mapping[str, np.ndarray]
    said: Mapping[str, str] = field(default_factory=dict)


class Predictions(NamedTuple):
    """One model's answers: (N,) numbers of the true classes, (N, K) probabilities."""

    truth: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Run:
    """A run folder in memory. ``problems`` are sentences about parts that could not be read."""

    path: Path
    summary: RunSummary
    environment: Mapping[str, Any] = field(default_factory=dict)
    config: str | None = None
    log: tuple[Mapping[str, Any], ...] = ()
    scores: Scores = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_run(path: Path, summary: RunSummary) -> Run:
    """Read what else than its summary lies in the run folder at ``path``."""
    parts = Parts(path)
    log, broken_lines = parts.read("log.jsonl", read_log, ((), 0))
    if broken_lines:
        parts.problems.append(
            f"{broken_lines} line(s) of log.jsonl are damaged and were passed over."
        )
    scores = parts.read("scores.parquet", _read_scores, {})
    classes = summary.classes
    predictions = parts.read("predictions.parquet", lambda file: _answers(file, classes), {})
    files = _example_files(path)
    found = [parts.read(f"examples/{file.name}", _read_example, None) for file in files]
    examples = tuple(example for example in found if example is not None)
    environment, config = parts.environment(), parts.config()
    return Run(
        path, summary, environment, config, log, scores, examples, predictions,
        tuple(parts.problems),
    )  # fmt: skip


class Parts:
    """What lies in a folder beside its summary, and sentences about what could not be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def read(self, name: str, read: Callable[[Path], Content], absent: Content) -> Content:
        """What ``read`` makes of a file; ``absent`` where there is none, or it is damaged."""
        path = self.folder / name
        if not path.exists():
            return absent
        try:
            return read(path)
        except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
            self.problems.append(f"{name} could not be read and is left out here: {error}")
            return absent

    def environment(self) -> Mapping[str, Any]:
        """What environment.json holds."""
        return self.read("environment.json", _read_environment, {})

    def config(self) -> str | None:
        """The text of config.yaml, which holds keys and values."""
        return self.read("config.yaml", _read_config, None)


def read_examples(path: Path) -> tuple[Example, ...]:
    """The test images that a run keeps with its models' outlines, best to worst.

    Raises:
        InputError: one is damaged.
    """
    examples = []
    for file in _example_files(path):
        try:
            examples.append(_read_example(file))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{file}: damaged ({error}). Delete it, or restore it") from error
    return tuple(examples)


def _example_files(path: Path) -> list[Path]:
    return sorted((path / "examples").glob("*.npz"), key=_rank_kind_id)


def _read_environment(file: Path) -> Mapping[str, Any]:
    value = parse_json(file.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    _require_shallow(value)
    if not isinstance(value.get("resumed", []), list):
        raise ValueError("'resumed' is no list")
    return value


def _require_shallow(value: Any, levels: int = 8) -> None:
    """Refuse what no run writes, and what would be too deep for whoever shows it."""
    if isinstance(value, dict | list):
        if not levels:
            raise ValueError("it is nested too deeply")
        for inner in value.values() if isinstance(value, dict) else value:
            _require_shallow(inner, levels - 1)


def _read_config(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    try:
        values = read_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected keys and values, found {type(values).__name__}")
    return text


def read_log(file: Path) -> tuple[tuple[Mapping[str, Any], ...], int]:
    """The lines that are whole, and how many are not: a killed run may end in half a line."""
    entries, broken = [], 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        elif line.strip():
            broken += 1
    return tuple(entries), broken


def _read_scores(file: Path) -> Scores:
    columns = ["image", "model", "metric", "value"]
    table = pyarrow.parquet.read_table(file, columns=columns).to_pydict()
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for image, model, metric, value in zip(*(table[name] for name in columns), strict=True):
        if value is not None and math.isfinite(value):
            # Rows of the first seed come first; it is that of the pictures.
            scores.setdefault(metric, {}).setdefault(model, {}).setdefault(image, float(value))
    return scores


def _answers(file: Path, classes: Sequence[str]) -> dict[str, Predictions]:
    """By model, what predictions.parquet holds of its probabilities."""
    columns = ["model", "class", *(f"probability_{name}" for name in classes)]
    table = pyarrow.parquet.read_table(file, columns=columns).to_pydict()
    models = np.array(table["model"])
    truth = np.array([classes.index(name) for name in table["class"]])
    probabilities = np.array([table[name] for name in columns[2:]], np.float64).T
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is no finite number")
    return {
        str(name): Predictions(truth[models == name], probabilities[models == name])
        for name in np.unique(models)
    }


def _rank_kind_id(file: Path) -> tuple[int, str, str]:
    """``3-worst-cell_07.npz`` → (3, "worst", "cell_07"); an unranked file comes last."""
    rank, _, rest = file.stem.partition("-")
    kind, _, image_id = rest.partition("-")
    return (int(rank), kind, image_id) if rank.isdecimal() else (10**9, "", file.stem)


def _read_example(file: Path) -> Example:
    rank, kind, image_id = _rank_kind_id(file)
    arrays = read_arrays(file)
    if "image" not in arrays:
        raise ValueError("it holds no 'image'")
    image = arrays.pop("image")
    if not image.size:
        raise ValueError(f"'image' is empty, {image.shape}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"'image' is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    labels = {name: array for name, array in arrays.items() if array.ndim == 2}
    for name, array in labels.items():
        if array.shape != image.shape[:2] or array.dtype.kind not in "iub":
            raise ValueError(
                f"'{name}' is {array.dtype} {array.shape}, expected integers {image.shape[:2]}"
            )
    # The file name holds a tidied id; the id itself, where it is stored, is the true one.
    kind, image_id = (
        str(arrays[name]) if name in arrays else known
        for name, known in (("kind", kind), ("id", image_id))
    )
    said = {
        name.removeprefix("said:"): str(array)
        for name, array in arrays.items()
        if name.startswith("said:") and array.ndim == 0
    }
    return Example(rank, kind, image_id, image, labels, said)
