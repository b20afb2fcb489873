"""``abbe evaluate``: score a finished run on another data set."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe import config
from abbe.cli.shared.arguments import Computing, parse, say
from abbe.cli.shared.experiment import SOME_DATA


@dataclass(frozen=True)
class EvaluateArguments(Computing):
    """Arguments of ``abbe evaluate``."""

    run: tyro.conf.Positional[Path]
    """The finished run."""
    name: str
    """Name of the evaluation: it goes to RUN/evaluations/NAME."""
    data: config.Data = SOME_DATA
    distil: bool = False
    """Also distil a student on the other data set from the same frozen teacher."""
    trust_code: bool = False
    """Let the run's teacher of kind torch import and call the Python code that it names."""
    teacher_channels: tuple[str, ...] | None = None
    """Channels of the other set for the teacher, in its order; one may stand twice."""
    student_channels: tuple[str, ...] | None = None
    """Channels of the other set for the student, in its order."""
    allow_failed: int = 0
    """How many images may be lost (unreadable, or the teacher failed on them)."""
    allow_overlap: bool = False
    """Go on where run or teacher was trained on test images; the report says so."""
    cluster: str | None = None
    """Workers by which teacher and networks answer and are scored: local:N (processes here),
    tcp://HOST:PORT (a dask scheduler), or a .yaml file of dask-jobqueue (SLURM, LSF, PBS, SGE);
    this process alone where omitted. --distil trains here."""


def run(words: list[str]) -> int:
    """``abbe evaluate``."""
    description = """Score a finished run on another data set, as it is: every network, every seed.

With --distil, a student distilled there from the same frozen teacher stands beside it. Runs of RCKD
are scored for their task, the classes found by name, and those of KD SAM by kind of prompt; neither
needs its teacher.

examples:
  abbe evaluate runs/a --name expert2 --data.path codex/ --data.labels labels/expert2
  abbe evaluate runs/a --name dsb2018 --data.path dsb2018/ --data.channels nucleus --distil
  abbe evaluate runs/rckd --name chaoyang --data.kind classes --data.path tiles_by_class/
  abbe evaluate runs/a --name hospital2 --data.path hospital2/ --cluster slurm.yaml"""
    arguments = parse(EvaluateArguments, "evaluate", words, description)
    from abbe.reporting.tables import plain_table
    from abbe.runs.elsewhere.evaluate import evaluate_run

    finished = evaluate_run(
        arguments.run,
        arguments.data,
        name=arguments.name,
        distil=arguments.distil,
        teacher_channels=arguments.teacher_channels,
        student_channels=arguments.student_channels,
        trust_code=arguments.trust_code,
        allow_failed=arguments.allow_failed,
        allow_overlap=arguments.allow_overlap,
        cluster=arguments.cluster,
        say=say,
    )
    say(f"\n{plain_table(finished.summary)}\n\nreport: {finished.report}")
    return 0
