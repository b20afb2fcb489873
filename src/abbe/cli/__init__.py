"""The command line: parse, call, print. A verb is loaded when it is called, rooms when it runs."""

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from abbe import __version__
from abbe.errors import AbbeError, AbbeWarning
from abbe.foreign_text import shown
from abbe.machine.threads import wait_passively
from abbe.near import meant
from abbe.progress import end_all
from abbe.remote.urls import told
from abbe.telemetry import switch_off

VERBS = {
    "demo": "distil on simulated tissue, in a few minutes",
    "data": "list, fetch and check data sets",
    "teach": "run a teacher over images once and keep its answers",
    "tune-teacher": "fit a teacher of SAM's family to a task with few labels",
    "condense": "from a folder to a package in one go: plan, train, export, time",
    "distill": "train a student and what it is held against, score them, report",
    "curve": "train at growing shares of the labels, and plot what they buy",
    "reproduce": "run a published table, the paper's figure beside ours",
    "evaluate": "score a finished run on another data set",
    "suggest": "choose the images to label next",
    "export": "make a package of a finished run, proven to answer alike",
    "push": "upload a package to a Hugging Face repository",
    "models": "list packages: those that come with Abbe, yours, and the hub's",
    "predict": "run a package on images of any size",
    "serve": "a package in the browser on this machine, or as a REST service (--api)",
    "web": "make a page that runs a package in the browser, for any web server",
    "bench": "measure how fast a package runs here",
    "report": "write the report of a finished run again",
    "recipes": "list the shipped experiment files, or copy one",
}
"""What each does, in a line; ``abbe.cli.NAME``, with _ for -, has its arguments and ``run``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``abbe VERB …``; the result is the exit code: 0, 1 for a problem, 2 for wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()  # whoever reads it may be gone, which is told here at the latest
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return 128 + 13  # as if ended by SIGPIPE, like other programs before "| head"
    except KeyboardInterrupt:
        end_all()
        print("\nabbe: stopped; what was computed is kept", file=sys.stderr)
        return 130
    return code


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"abbe {__version__}")
        return 0
    if words[0] not in VERBS:
        near = meant(words[0], VERBS)
        print(
            f"abbe: there is no verb '{shown(words[0])}'. Verbs: {', '.join(VERBS)}.{near}",
            file=sys.stderr,
        )
        return 2
    switch_off()
    wait_passively()
    warnings.formatwarning = _note
    try:
        return _carry_out(words)
    except AbbeError as error:
        print(f"abbe {words[0]}: {told(shown(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in TRAIN_PACKAGES:
            raise
        print(
            f"abbe {words[0]}: needs the package '{error.name}', which is not installed. "
            "Install it with: pip install 'abbe[train]'",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        place = shown(error.filename or "the disk")
        print(
            f"abbe {words[0]}: {place}: {_what_to_do(error)}; what was computed is kept",
            file=sys.stderr,
        )
        return 1
    except MemoryError:
        print(
            f"abbe {words[0]}: there is too little memory. Close other programs, or ask for less "
            "at a time: smaller crops, batches or tiles, fewer workers; what was computed is kept",
            file=sys.stderr,
        )
        return 1


def _what_to_do(error: OSError) -> str:
    if error.errno == errno.EEXIST and not os.path.isdir(error.filename or ""):
        return "is a file, and a folder is needed here. Name another place"
    if error.errno == errno.ENOTDIR:
        return "a part of this path is a file, not a folder. Name another place"
    if error.errno == errno.EISDIR:
        return "is a folder, and a file is to be written here. Name another place"
    return f"{error.strerror}. Free the disk, mend the permissions or name another place"


_usual_warning = warnings.formatwarning


def _note(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
    """Abbe's own warnings without a line of code; those of libraries as Python writes them."""
    if issubclass(category, AbbeWarning):
        return f"note: {message}\n"
    return _usual_warning(message, category, *where, **line)


def _carry_out(words: list[str]) -> int:
    try:
        verb = import_module(f"abbe.cli.{words[0].replace('-', '_')}")
        return verb.run(list(map(_by_its_new_name, words[1:])))
    except Exception:
        end_all()  # what is said of it stands below
        raise


RENAMED = {
    "--student.sees": "--student.input-channels",
    "--teacher.sees": "--teacher.input-channels",
    "--student-sees": "--student-channels",
    "--teacher-sees": "--teacher-channels",
}
"""Today's options by the names that earlier versions gave them."""


def _by_its_new_name(word: str) -> str:
    option, equals, value = word.partition("=")
    if option not in RENAMED:
        return word
    print(f"note: {option} is {RENAMED[option]} today", file=sys.stderr)
    return f"{RENAMED[option]}{equals}{value}"


DISK_TROUBLE = (
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EISDIR, errno.ENOSPC,
    errno.ENOTDIR, errno.EPERM, errno.EROFS,
)  # fmt: skip

TRAIN_PACKAGES = (
    "torch", "torchvision", "timm", "segmentation_models_pytorch", "accelerate", "safetensors",
    "matplotlib", "jinja2", "pyarrow", "onnx", "onnxscript", "onnxruntime", "nncf", "tensorboard",
    "huggingface_hub", "sklearn",
)  # fmt: skip


def overview() -> str:
    """The first page of help."""
    lines = [
        f"abbe {__version__}: condense large segmentation models into small ones.",
        "",
        "usage: abbe VERB …      (abbe VERB --help tells more)",
        "",
        *(f"  {name:12} {summary}" for name, summary in VERBS.items()),
        "",
        "Nuclei, now:   abbe predict nuclei images/",
        "A first look:  abbe demo",
        "Your images:   abbe data check tissue/   then   abbe condense tissue/ --teacher masks/",
    ]
    return "\n".join(lines)
