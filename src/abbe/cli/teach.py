"""``abbe teach``: run a teacher over images once and keep its answers."""

from dataclasses import dataclass
from pathlib import Path

from abbe import config
from abbe.cli.arguments import SOME_DATA, SOME_TEACHER, parse, say
from abbe.errors import ConfigError


@dataclass(frozen=True)
class TeachArguments:
    """Arguments of ``abbe teach``."""

    out: Path
    """The target store to make or to continue, such as targets.zarr."""
    data: config.Data = SOME_DATA
    teacher: config.Teacher = SOME_TEACHER
    check_equivariance: bool = False
    """Also measure whether turning an image turns the teacher's answer with it."""


def run(words: list[str]) -> int:
    """``abbe teach``; exit code 1 where the teacher failed on an image."""
    description = """Run a teacher over images once and keep its answers in a target store.

A run that was stopped goes on where it was. Images that fail are listed; the rest go on.

examples:
  abbe teach --out targets.zarr --data.path tissue/ --teacher.kind masks --teacher.path masks/
  abbe teach --out targets.zarr --data.path nuclei/ --teacher.kind bioimageio \\
      --teacher.path unet2d_nuclei_broad/ --check-equivariance"""
    arguments = parse(TeachArguments, "teach", words, description)
    from abbe import teachers
    from abbe.recipes import build

    if arguments.teacher.kind in ("none", "store"):
        raise ConfigError("teacher.kind: choose masks, onnx, bioimageio, torch or run")
    dataset = build.collect(arguments.data)
    teacher = build.build_teacher(arguments.teacher, dataset)
    source = teacher.provenance
    say(f"{source.teacher}: sees {', '.join(source.channels)}; gives {', '.join(source.outputs)}")
    say(f"licence of its weights: {source.weights_licence}")
    if arguments.check_equivariance:
        say(teachers.check_equivariance(teacher, dataset).summary())
    report = teachers.teach(teacher, dataset, arguments.out)
    say(report.summary())
    return 1 if report.failed else 0
