"""The experiment files that come with Abbe."""

from pathlib import Path
from typing import Any

from abbe import config
from abbe.errors import ConfigError
from abbe.files import write_text
from abbe.near import meant, meant_beside
from abbe.remote import as_path, as_remote
from abbe.remote.cache import local_copy

CONFIG = "config.yaml"
"""The experiment file in the folder of a run."""
FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped files."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe, the user's own, or that of a run that was begun.

    Raises:
        ConfigError: it is none of these.
    """
    if name in names():
        return FOLDER / f"{name}.yaml"
    path = Path(name)
    if (path / CONFIG).is_file():
        return path / CONFIG
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    raise ConfigError(
        f"'{name}' is neither a shipped recipe ({', '.join(names())}), nor a .yaml file, nor the "
        f"folder of a run ({CONFIG} is missing).{meant_beside(name, names())}"
    )


def values_of(name: str) -> tuple[Path, dict[str, Any]]:
    """The file that `recipe_path` finds and its values; a run goes on where its folder is now.

    Raises:
        ConfigError: there is no such file, or it is no experiment file.
    """
    if (remote := as_remote(as_path(name))) is not None and (remote / CONFIG).is_file():
        return as_path(remote / CONFIG), config.read_saved(local_copy(remote / CONFIG)) | {
            "out": name
        }
    source = recipe_path(name)
    if Path(name) != source.parent:
        return source, config.read_values(source)
    return source, config.read_saved(source) | {"out": name}


def listing() -> str:
    """One line a recipe: its name and the first line of its file."""
    lines = []
    for name in names():
        first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        lines.append(f"{name:14} {first.removeprefix('# ')}")
    return "\n".join(lines)


def copy(name: str | None, destination: Path | None = None) -> Path:
    """Copy a shipped recipe to edit it.

    Raises:
        ConfigError: there is no such recipe, or the destination exists.
    """
    known = ", ".join(names())
    if name is None:
        raise ConfigError(f"name the recipe to copy: one of {known}")
    if name not in names():
        raise ConfigError(
            f"recipe '{name}' is not shipped; choose one of {known}.{meant(name, names())}"
        )
    target = destination or Path(f"{name}.yaml")
    if target.exists():
        raise ConfigError(f"{target}: exists already; give another name")
    write_text(target, (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return target
