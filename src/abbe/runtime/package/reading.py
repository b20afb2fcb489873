"""Read a package: its folder is found, its description checked, and nothing of it is believed."""

import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from abbe.errors import PackageError
from abbe.files import parse_json
from abbe.near import meant_beside
from abbe.runtime.package.description import DESCRIPTION, FORMATS, Package, PackageDescription
from abbe.runtime.package.places import located, shipped

LARGEST_DESCRIPTION = 1 << 20
"""Bytes; more is refused before anything is read."""
PICKLES = frozenset((".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill"))


def read_package(folder: str | os.PathLike[str]) -> Package:
    """Read and check the description of a package.

    Args:
        folder: Of the package; or a name that `abbe.runtime.package.places.located` knows.

    Raises:
        PackageError: There is no package; its description is damaged, of another format version,
            or impossible; the folder holds a pickle; a
            repository cannot be fetched.
    """
    folder = located(folder)
    path = folder / DESCRIPTION
    if not path.is_file():
        raise PackageError(
            f"{folder}: holds no package ({DESCRIPTION} is missing). Give the folder that "
            f"'abbe export' wrote, or the name of a package that comes with Abbe: "
            f"{', '.join(shipped())}.{meant_beside(folder, shipped())}"
        )
    value = _read_json(path)
    if not isinstance(value, dict) or "format" not in value:
        raise PackageError(f"{path}: not the description of a package (no 'format' in it)")
    if value["format"] not in FORMATS or isinstance(value["format"], bool):
        raise PackageError(
            f"{path}: format {str(value['format'])[:20]}; this version of Abbe reads formats "
            f"{', '.join(map(str, FORMATS))}. Use the version of Abbe that wrote it, or export "
            "the run again"
        )
    try:
        description = PackageDescription.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise PackageError(f"{path}: {_problems(error)}") from error
    _refuse_pickles(folder)
    return Package(folder, description)


def _read_json(path: Path) -> Any:
    if path.stat().st_size > LARGEST_DESCRIPTION:
        raise PackageError(
            f"{path}: {path.stat().st_size:,} bytes; a description has at most "
            f"{LARGEST_DESCRIPTION:,}"
        )
    try:
        return parse_json(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path}: is damaged ({type(error).__name__}: {error})") from error


def _problems(error: ValidationError) -> str:
    """Key and message of what is wrong, at most five."""
    problems = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        key = ".".join(map(str, each["loc"])) or "package"
        problems.append(f"{key}: {each['msg'].removeprefix('Value error, ')}")
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return "; ".join(problems[:5]) + more


def _refuse_pickles(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix.lower() in PICKLES:
            raise PackageError(
                f"{path}: a package holds no pickles, because opening one can run any code. "
                "Remove the file, or ask who made the package for another"
            )
