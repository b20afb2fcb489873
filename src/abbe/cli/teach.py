"""``abbe teach``: run a teacher over images once and keep its answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from abbe import config
from abbe.cli.shared.arguments import Computing, parse, say
from abbe.cli.shared.experiment import SOME_DATA, SOME_TEACHER
from abbe.errors import ConfigError
from abbe.remote.folders import worked_on

if TYPE_CHECKING:
    from abbe.datasets import Dataset
    from abbe.teachers import Plan, Teacher, TeachReport


@dataclass(frozen=True)
class TeachArguments(Computing):
    """Arguments of ``abbe teach``."""

    out: Path
    """The target store to make or to continue, such as targets.zarr."""
    data: config.Data = SOME_DATA
    teacher: config.Teacher = SOME_TEACHER
    trust_code: bool = False
    """Let a teacher of kind torch import and call the Python code that teacher.path names."""
    allow_failed: int = 0
    """How many images may fail, or be unreadable, and the exit code still be 0."""
    cluster: str | None = None
    """Workers to teach on: local:N (processes here), tcp://HOST:PORT (a dask scheduler), or a .yaml
    file of dask-jobqueue (SLURM, LSF, PBS, SGE); this process alone where omitted."""
    check_equivariance: bool = False
    """Also measure whether turning an image turns the teacher's answer with it."""
    plan: bool = False
    """Time a few images, say how long all will take and how much disk they need, and stop."""
    json: bool = False
    """With --plan: print it as JSON."""


def run(words: list[str]) -> int:
    """``abbe teach``; exit code 1 where more images failed than allowed."""
    description = """Run a teacher over images once and keep its answers in a target store.

A run that was stopped goes on where it was. Images that fail are listed; the rest go on, and the
exit code is 1 where more than --allow-failed did.
With --plan, nothing is taught: a few images are timed, and what all will take is printed.
With --teacher.also, the answers of several stores become one: their mean, weighed by how each does
on labelled validation images, and where they agree.

examples:
  abbe teach --out targets.zarr --data.path tissue/ --teacher.kind masks --teacher.path masks/
  abbe teach --out targets.zarr --data.path nuclei/ --data.channels nucleus \\
      --teacher.kind bioimageio --teacher.path unet2d_nuclei_broad/ \\
      --teacher.input-channels nucleus --check-equivariance
  abbe teach --out targets.zarr --data.path nuclei/ --teacher.kind torch \\
      --teacher.path my_package.models:big_unet --trust-code --plan
  abbe teach --out both.zarr --data.path nuclei/ --teacher.kind store \\
      --teacher.path a.zarr --teacher.also b.zarr
  abbe teach --out targets.zarr --data.path tissue/ --teacher.kind onnx --teacher.path big.onnx \\
      --teacher.input-channels nucleus --cluster slurm.yaml"""
    arguments = parse(TeachArguments, "teach", words, description)
    from abbe import teachers
    from abbe.runs import build
    from abbe.runs.accounts.overlap import hand_on

    if arguments.teacher.also:
        return _combine(arguments)
    if arguments.teacher.kind not in teachers.TEACHERS:
        raise ConfigError(f"teacher.kind: choose from {', '.join(teachers.TEACHERS)}")
    for key in ("live", "trust"):  # of students, not of answers
        if getattr(arguments.teacher, key) != config.Teacher.model_fields[key].default:
            raise ConfigError(f"teacher.{key}: belongs to 'abbe distill'. Leave it out here")
    if arguments.json and not arguments.plan:
        raise ConfigError("--json belongs to --plan: give both, or neither")
    if arguments.plan and arguments.cluster:
        raise ConfigError(
            "--plan is made here: leave --cluster out, and divide its time by workers"
        )
    build.require_trust(arguments.teacher, trust_code=arguments.trust_code)
    dataset = build.collect(arguments.data)
    build.tell_problems(dataset)
    teacher = build.build_teacher(arguments.teacher, dataset, trust_code=arguments.trust_code)
    if arguments.plan:
        plan = teachers.plan(teacher, dataset, arguments.out)
        whole = plan.images + len(dataset.left_out)
        plan = replace(plan, images=whole, failed={**dataset.left_out, **plan.failed})
        return _say_plan(plan, arguments.allow_failed, as_json=arguments.json)
    provenance = teachers.provenance_of(teacher, dataset)
    dataset = build.seen_by(dataset, provenance.channels, f"the teacher {provenance.teacher}")
    say(teachers.introduction(provenance))
    if arguments.check_equivariance:
        say(teachers.check_equivariance(teacher, dataset).summary())
    with worked_on(arguments.out) as out:
        report = _teach(replace(arguments, out=out), teacher, dataset)
        report.failed |= dataset.left_out
        hand_on(out, arguments.teacher)
    say(report.summary())
    return 1 if len(report.failed) > arguments.allow_failed else 0


def _teach(arguments: TeachArguments, teacher: Teacher, dataset: Dataset) -> TeachReport:
    """Here, or on workers."""
    from abbe import teachers
    from abbe.runs import build
    from abbe.teachers.on_workers import teach_on_cluster

    if arguments.cluster is None:
        return teachers.teach(teacher, dataset, arguments.out)
    trust_code = arguments.trust_code
    make = partial(build.build_teacher, arguments.teacher, dataset, trust_code=trust_code)
    return teach_on_cluster(
        arguments.cluster, make, dataset, arguments.out, teacher=teacher, say=say
    )


def _combine(arguments: TeachArguments) -> int:
    """Store the mean of several stores; what each counts is found on labelled validation images."""
    from abbe import teachers
    from abbe.runs import build
    from abbe.runs.accounts.overlap import hand_on

    asked = arguments.teacher
    if asked.kind != "store" or asked.path is None:
        raise ConfigError(
            "teacher.also: 'abbe teach' takes the mean of stores. Have each teacher answer into "
            "one, then give --teacher.kind store --teacher.path A.zarr --teacher.also B.zarr"
        )
    if arguments.plan or arguments.check_equivariance or asked.tta or arguments.cluster:
        raise ConfigError(
            "teacher.also: the answers are there already. Leave --plan, --check-equivariance, "
            "--cluster and --teacher.tta out"
        )
    places = (asked.path, *asked.also)
    dataset = build.collect(arguments.data)
    build.tell_problems(dataset)
    teacher = build.build_mean(places, dataset, arguments.data)
    say(teachers.introduction(teacher.provenance))
    with worked_on(arguments.out) as out:
        report = teachers.teach(teacher, dataset, out)
        report.failed |= dataset.left_out
        hand_on(out, asked)
    say(report.summary())
    return 1 if len(report.failed) > arguments.allow_failed else 0


def _say_plan(plan: Plan, allowed: int, *, as_json: bool) -> int:
    """Exit code 1 where more images failed than allowed, or where the disk has no room."""
    say(json.dumps(plan.to_json(), indent=1, ensure_ascii=False) if as_json else plan.summary())
    return 0 if plan.fits and len(plan.failed) <= allowed else 1
