"""Programs in processes of their own, forked from a server that has imported what they import.

Torch and what trains take 5 s of a processor to import, and tests that kill or pair programs start
many. What is forked is a process like any other: it has its own number, group, memory and signals.
"""

import gc
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import dask
import pytest
from distributed import utils

PATIENCE = 300.0
"""Seconds after which a program is held to hang."""

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([
    "abbe.runs.distill", "abbe.recipes.cmkd", "abbe.api",
    "distributed", "abbe.runtime.batch.item", "abbe.runtime.predictors.instances",
])  # fmt: skip


def abbe() -> None:
    """``python -m abbe``."""
    runpy.run_module("abbe", run_name="__main__", alter_sys=True)


def start(
    program: Callable[[], None],
    *words: object,
    output: Path | None = None,
    new_group: bool = False,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Begin a function of a module with ``words`` as its command line.

    It works where the test does and sees its environment, with what ``environment`` adds. What it
    says goes to ``output``, or nowhere. ``new_group`` puts it at the head of a process group.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    heard = str(output or os.devnull)
    arguments = (program, [*map(str, words)], heard, variables, new_group)
    process = _SERVER.Process(target=_begin, args=arguments)
    process.start()
    return process


@contextmanager
def forked_workers() -> Iterator[None]:
    """Workers that dask starts meanwhile are forked from the server, too, as in dask's own tests.

    They see its environment: of what a test changes, they are to be told.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_forkserver_preload_set", True)  # the server has its own
        with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):  # pyright: ignore[reportPrivateImportUsage]
            yield


def ended(process: BaseProcess, seconds: float = PATIENCE) -> int | None:
    """Its exit code, the signal's number below zero; None where it hangs, and it is killed."""
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    return code


def run(program: Callable[[], None], *words: object, output: Path) -> tuple[int | None, str]:
    """Its exit code, and what it said."""
    code = ended(start(program, *words, output=output))
    return code, output.read_text("utf-8")


def _begin(
    program: Callable[[], None],
    words: list[str],
    output: str,
    environment: dict[str, str],
    new_group: bool,
) -> None:
    if new_group:
        os.setpgid(0, 0)
    multiprocessing.set_start_method(None, force=True)  # the system's, as in any other program
    # A shell's background job has Ctrl+C ignored, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = words
    gc.freeze()
    program()
