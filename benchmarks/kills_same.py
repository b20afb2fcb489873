"""Whether two folders of results hold the same, but for times, for `benchmarks/kills.py`."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Picture
from pyarrow import parquet

from abbe.files.tensors import read_tensors
from abbe.targets import TargetStore

_TIMES = re.compile(
    r".*(_s|_ms|seconds?|_waiting|_validating|ms_per_.*|load|modified|timings?|started|speed|engine)"
)
"""Keys of JSON that tell how fast something was, or what was chosen because it was fast."""
_MADE_OF_TIMES = {"package.json", "README.md", "environment.json", "schedule.json", "config.yaml"}


def differences(found: Path, expected: Path) -> list[str]:
    """What a folder lacks, has too much or has otherwise, in a line each."""
    here, there = _files(found), _files(expected)
    wrong = [f"{name} is missing" for name in sorted(there.keys() - here.keys())]
    wrong += [f"{name} is left over" for name in sorted(here.keys() - there.keys())]
    for name in sorted(here.keys() & there.keys()):
        try:
            same = _same(here[name], there[name])
        except Exception as error:  # whatever a reader says of a file, the file is not whole
            wrong.append(f"{name} cannot be read ({type(error).__name__}: {error})")
            continue
        if not same:
            wrong.append(f"{name} differs")
    return wrong


def _files(folder: Path) -> dict[str, Path]:
    """Files to compare by their names below the folder; a target store is one."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        below_store = any((each / "index.jsonl").exists() for each in path.parents)
        wanted = path.is_file() and "/tensorboard/" not in name
        if below_store:
            wanted = bool(re.search(r"\.part$|/\.(?!lock$)", name))
        if wanted or (path / "index.jsonl").exists():
            found[name] = path
    return found


def _same(one: Path, other: Path) -> bool:
    if one.is_dir():
        return _same_targets(TargetStore(one), TargetStore(other))
    in_zarr = any(each.suffix == ".zarr" for each in one.parents)
    reader = Path.read_bytes if in_zarr else _READERS.get(one.suffix)
    if one.name == "log.jsonl":
        return _validations(one) == _validations(other)
    if one.name == "predicted.jsonl":
        return _predicted(one) == _predicted(other)
    if one.name in _MADE_OF_TIMES or reader is None:
        return bool(one.stat().st_size) == bool(other.stat().st_size)
    return _equal(reader(one), reader(other))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
                    if one.dtype.kind == "f" else np.array_equal(one, other))  # fmt: skip
    return one == other


def _same_targets(one: TargetStore, other: TargetStore) -> bool:
    entries, expected = list(one), list(other)
    if Counter(e.id for e in entries) != Counter(e.id for e in expected):
        return False
    return all(
        one.kinds(e.id, view=e.view) == other.kinds(e.id, view=e.view)
        and all(
            np.array_equal(one.read(e.id, kind, view=e.view), other.read(e.id, kind, view=e.view))
            for kind in one.kinds(e.id, view=e.view)
        )
        for e in entries
    )


def _validations(path: Path) -> list[Any]:
    """The validations of a training in order; a torn line is an error."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    steps = Counter((e["model"], e["stage"], e["step"], "terms" in e) for e in lines)
    assert max(steps.values()) == 1, f"steps are logged twice: {steps.most_common(3)}"
    return [without_times(line) for line in lines if "validation" in line]


def _predicted(path: Path) -> list[Any]:
    lines = [without_times(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return sorted(lines, key=lambda line: line["stem"])


def without_times(value: Any) -> Any:
    """JSON without what two runs do not share."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not _TIMES.fullmatch(k)}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        arrays: dict[str, Any] = dict(file)
    if "facts" in arrays:
        arrays["facts"] = without_times(json.loads(str(arrays["facts"])))
    return arrays


def _table(path: Path) -> list[Any]:
    with open(path, encoding="utf-8", newline="") as file:
        return [without_times(row) for row in csv.DictReader(file)]


def _picture(path: Path) -> np.ndarray:
    with Picture.open(path) as picture:
        return np.asarray(picture)


def _tensors(path: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in read_tensors(path).items()}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: without_times(json.loads(path.read_text("utf-8"))),
    ".safetensors": _tensors,
    ".npz": _npz,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".png": _picture,
    ".tif": tifffile.imread,
    ".parquet": lambda path: parquet.read_table(path).to_pylist(),
    ".csv": _table,
    ".geojson": lambda path: json.loads(path.read_text("utf-8")),
    ".onnx": Path.read_bytes,
    ".xml": Path.read_bytes,
    ".bin": Path.read_bytes,
}
