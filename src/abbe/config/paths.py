"""Paths in the experiment file of a run: they hold when the run, or the run and its data, move.

`written` makes them relative to the folder of the file and notes where that was (``paths_from``).
`found` looks there first, from where the file is now; then from where it was written. Files
without the note are a user's own, or of earlier versions: their paths are those of the working
folder, as on the command line.
"""

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from abbe.config.experiment import Experiment
from abbe.config.foreign import keys_within
from abbe.errors import ConfigError

FROM = "paths_from"
"""The folder in which a file was written, whose paths are relative to it."""
_OPTIONS = ("labels", "prompt_file", "weights")
"""Options of teachers that are files or folders and never names."""


def _takes_paths(annotation: Any) -> bool:
    return annotation is Path or any(map(_takes_paths, get_args(annotation)))


KEYS = (
    *(key for key, field in keys_within(Experiment)
      if key != "out" and _takes_paths(field.annotation)),
    "data.split",
    "pretrain_data.split",
)  # fmt: skip
"""Keys that may hold a path; some hold names as well."""


def written(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of an experiment as they stand in a file in ``folder``."""
    here = os.path.abspath(folder)
    changed = _below_their_data(absolute(values))
    result = _changed(changed, lambda text, _: _relative(text, here) if _is_whole(text) else text)
    return result if result == changed else {**result, FROM: here}


def found(values: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The values that ``file`` holds, with paths that hold in the working folder.

    Raises:
        ConfigError: the note of where the file was written is no text.
    """
    values = dict(values)
    before = values.pop(FROM, None)
    if before is None:
        return values
    if not isinstance(before, str):
        raise ConfigError(f"{file}:\n  {FROM}: must be the path of a folder (it is {before!r})")
    folders = (os.path.abspath(file.parent), before)

    def place(text: str, _: bool) -> str:
        if not text.startswith(("./", "../")):
            return text
        # By the words of the path: a folder that is a link has other folders above it.
        places = [os.path.normpath(os.path.join(folder, text)) for folder in folders]
        return _as_typed(next(filter(os.path.exists, places), places[-1]))

    changed = _changed(values, place)
    if isinstance(changed.get("out"), str):  # of a plan that lies in the folder of its run
        changed["out"] = place(changed["out"], False)
    return changed


def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with whole paths for all that is a file or folder in the working folder."""
    return _changed(
        values, lambda text, named: os.path.abspath(text) if _is_there(text, named) else text
    )


def _changed(values: Mapping[str, Any], change: Callable[[str, bool], str]) -> dict[str, Any]:
    """A copy in which each text that may be a path is what ``change`` makes of it.

    ``change`` is told, too, whether the text may be the name of something instead.
    """
    result = deepcopy(dict(values))
    for key in KEYS:
        name, _, inner = key.partition(".")
        section = result.get(name)
        if isinstance(section, dict) and isinstance(section.get(inner), list | tuple):
            section[inner] = [change(text, False) for text in section[inner]]
            continue
        if not isinstance(section, dict) or not isinstance(section.get(inner), str):
            continue
        if inner == "split" and not section[inner].endswith(".csv"):
            continue  # a column
        named = key in ("student.encoder_weights", "promptable.vgg_weights") or (
            key == "teacher.path" and section.get("kind") in ("package", "cellpose", "cellsam")
        )
        section[inner] = change(section[inner], named)
    teacher = result.get("teacher")
    options = teacher.get("options") if isinstance(teacher, dict) else None
    if isinstance(options, dict):
        for name, value in options.items():
            if isinstance(value, str):
                options[name] = change(value, name not in _OPTIONS)
    return result


def _is_there(text: str, named: bool) -> bool:
    """Whether a text is a path; of what may be a name, a folder of the same name is none."""
    path = Path(text)
    if not named or path.is_absolute():
        return path.exists()
    return path.is_file() or (path / "package.json").is_file()


def _is_whole(text: str) -> bool:
    return os.path.isabs(text)


def _relative(text: str, folder: str) -> str:
    try:
        path = os.path.relpath(text, folder)
    except ValueError:  # another drive of Windows
        return text
    slashes = path.replace(os.sep, "/")
    return f"{slashes}/" if slashes in (".", "..") else _from_here(slashes)


def _from_here(path: str) -> str:
    return path if path.startswith("../") else f"./{path}"


def _below_their_data(values: dict[str, Any]) -> dict[str, Any]:
    """Folders of labels that were given as whole paths, relative to the data they belong to."""
    for section in (values.get("data"), values.get("pretrain_data")):
        if not isinstance(section, dict) or not isinstance(section.get("path"), str):
            continue
        for key in ("labels", "types"):
            folder = section.get(key)
            if isinstance(folder, str) and Path(folder).is_relative_to(section["path"]):
                section[key] = Path(folder).relative_to(section["path"]).as_posix()
    return values


def _as_typed(path: str) -> str:
    """A path within the working folder as one would type it there."""
    here = Path.cwd()
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path
