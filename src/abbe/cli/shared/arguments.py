"""What the verbs share: parsing and printing. Nothing slow to import, for `abbe predict`'s sake."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro

from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.machine.threads import set_threads
from abbe.near import nearest
from abbe.progress import end_all
from abbe.remote.urls import is_url, told


@dataclass(frozen=True, kw_only=True)
class Computing:
    """What verbs have in common that train or ask a teacher."""

    threads: int | None = None
    """Processor threads to compute with. Left out: as many as this process is given cores, and
    fewer while others keep these busy."""


def parse(form: Any, verb: str, words: list[str], description: str, **options: Any) -> Any:
    """The arguments of ``abbe VERB`` as an object of the type ``form``; its threads are set.

    Misspelt options are what tyro itself tells; of misspelt values it lists those allowed, and the
    one that is like it is told below.

    Raises:
        ConfigError: ``--threads`` is below 1.
    """
    try:
        made = tyro.cli(form, prog=f"abbe {verb}", args=words, description=description, **options)
    except SystemExit as end:
        if end.code and (told := meant_values(form, words)):
            print(shown(told), file=sys.stderr)
        raise
    _refuse_urls(made, verb)
    own = getattr(made, "options", made)
    if isinstance(own, Computing):
        if own.threads is not None and own.threads < 1:
            raise ConfigError(f"--threads {own.threads}: at least 1 is needed")
        set_threads(own.threads)
    return made


_BY_URL: Mapping[str, tuple[str, ...]] = {
    "predict": ("out", "prompts"),
    "teach": ("out",),
    "distill": ("out",),
    "curve": ("out",),
    "evaluate": ("run",),
    "export": ("run", "out", "data_path"),
    "report": ("run",),
    "bench": ("package",),
}
"""Options and arguments that are paths, and may be URLs; data and teachers may everywhere."""


def _refuse_urls(made: Any, verb: str) -> None:
    """Refuse a URL where a path of this machine is wanted: a folder of such a name would be made.

    Raises:
        ConfigError: Naming the option.
    """
    for name, value in vars(made).items() if is_dataclass(made) else ():
        takes_urls = name in _BY_URL.get(verb.split()[0], ())
        if isinstance(value, Path) and is_url(value) and not takes_urls:
            raise ConfigError(
                f"--{name.replace('_', '-')} {told(str(value))}: 'abbe {verb}' takes a file or "
                "folder of this machine here, and no URL"
            )


def meant_values(form: Any, words: Sequence[str]) -> str:
    """A line for each value that an option does not take, but one like it; else empty.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Form:
    ...     precision: Literal["fp32", "bf16"] = "fp32"
    >>> meant_values(Form, ["--precision", "fp23"])
    "Did you mean '--precision fp32'?"

    A word is held to be mistyped only where no other than those listed will do.
    """
    choices, lines, option = dict(_choices(form, "")), [], ""
    for word in words:
        value = word
        if word.startswith("--"):
            option, _, value = word.partition("=")
        known = choices.get(option.replace("_", "-"), ())
        if value and known and value not in known and (near := nearest(value, known)):
            lines.append(f"Did you mean '{option} {near}'?")
    return "\n".join(lines)


def _choices(form: Any, above: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The options of a form that take certain words, such as ``--teacher.kind``, and these."""
    for name, kind in get_type_hints(form).items():
        path = name if not above else f"{above}.{name}"
        if is_dataclass(kind) or hasattr(kind, "model_fields"):
            # The verb's own options stand beside the sections, without a name before them.
            yield from _choices(kind, "" if name == "options" else path)
        elif {str, Path}.isdisjoint(within := tuple(_within(kind))):  # else any word will do
            yield f"--{path.replace('_', '-')}", tuple(each for each in within if type(each) is str)


def _within(kind: Any) -> Iterator[Any]:
    """The words of a literal, and the plain types, of which a type is made."""
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif inner := get_args(kind):
        for each in inner:
            yield from _within(each)
    else:
        yield kind


def say(text: str) -> None:
    """Print at once, so that it stands above a progress bar that follows.

    Much of it comes from files, so nothing in it may steer the terminal.
    """
    print(told(shown(text)), flush=True)


@contextmanager
def going_on_told(verb: str, out: Path, *, trust_code: bool = False) -> Iterator[None]:
    """Where Ctrl+C stops what writes to the folder ``out``, print the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        end_all()
        if out.is_dir():  # else nothing was computed
            words = ["abbe", verb, str(out), "--resume", *(["--trust-code"] if trust_code else [])]
            print(shown(f"\nGo on with: {shlex.join(words)}"), file=sys.stderr, flush=True)
        raise
