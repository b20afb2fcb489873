"""Reading ``summary.json``, of earlier versions too: they are brought to today's form first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from abbe.errors import InputError
from abbe.files import parse_json
from abbe.near import meant_beside
from abbe.summary.common import FILE, FORMAT
from abbe.summary.curve import CurveSummary
from abbe.summary.run import RunSummary


def read_summary(folder: Path) -> RunSummary | CurveSummary:
    """Read what a run or a curve left in its folder.

    Raises:
        InputError: there is no summary, or it is damaged, or of a later version.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise InputError(_no_folder(folder))
    if not path.is_file():
        raise InputError(
            f"{folder}: there is no {FILE} in this folder, so it is not a finished run. Give the "
            "folder of one, or finish it with 'abbe distill FOLDER --resume'"
        )
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, found {type(values).__name__}")
        kind = CurveSummary if values.get("kind") == "curve" else RunSummary
        found = kind.model_validate(_of_this_version(values))
        if isinstance(found, RunSummary) and not (found.models or found.linear_probe):
            raise ValueError("it tells of no model")
        if isinstance(found, CurveSummary) and not (found.compared and found.levels):
            raise ValueError("it compares nothing")
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or FILE
        raise InputError(
            f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}. Restore the file, or "
            "score the run again with abbe evaluate"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: this file is damaged ({error}). Restore it, or score the run again with "
            "abbe evaluate"
        ) from error


def _no_folder(folder: Path) -> str:
    """What to say where there is none; perhaps it was mistyped."""
    if folder.exists():
        return f"{folder}: this is a file. Give the folder of a finished run"
    meant = meant_beside(folder)
    return f"{folder}: there is no such folder. Give the folder of a finished run.{meant}"


_EARLIER_TASKS = {
    "instance segmentation": "instances",
    "foreground segmentation": "instances",
    "segmentation": "semantic",
    "promptable segmentation": "promptable",
}
_RENAMED = {"student_sees": "student_channels", "teacher_sees": "teacher_channels"}
_SAID_BY_FIGURES = (
    "No validation image ",
    "The teacher gave no answer for ",
)
"""Warnings of earlier versions that are drawn from the figures now."""


def _of_this_version(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields by today's names; words for the task became one, what figures say is not repeated."""
    written = values.get("format", 1)
    if written > FORMAT:
        raise ValueError(f"it has format {written}, and this version of Abbe reads up to {FORMAT}")
    values = {_RENAMED.get(name, name): value for name, value in values.items()}
    if written == FORMAT:
        return values
    task = values.get("task") or ""
    name = "photographs" if task.startswith("classification of") else _EARLIER_TASKS.get(task, task)
    warnings = [
        text for text in values.get("warnings") or [] if not str(text).startswith(_SAID_BY_FIGURES)
    ]
    kept = {key: value for key, value in values.items() if value is not None}
    return kept | {"task": name, "task_title": task, "warnings": warnings}
