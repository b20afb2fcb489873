"""``abbe distill``: train a student and what it is held against."""

import os
from dataclasses import dataclass

from abbe.cli.shared.arguments import Computing, going_on_told, say
from abbe.cli.shared.experiment import parse_experiment


@dataclass(frozen=True)
class DistillOptions(Computing):
    """Options of ``abbe distill`` beside the keys of the experiment file."""

    trust_code: bool = False
    """Let a teacher of kind torch import and call the Python code that teacher.path names."""
    resume: bool = False
    """Finish a run that was interrupted, or add evidence to a finished one."""


DISTILL_HELP = """Train a student from a teacher's targets, baselines without them, and report all.

usage: abbe distill RECIPE|FILE.yaml|RUN [--resume] [--KEY VALUE …]

RECIPE is one of 'abbe recipes', RUN the folder of a run that was begun. Every key that the recipe
reads can be set on the command line. Ctrl+C keeps all but the step that is being computed.

How much evidence: standard, the default, trains the student, a supervised network and the student's
twin, each from three seeds; --evidence quick the student alone, once, which proves nothing;
--evidence full has self-training, too, and five seeds. A finished run takes more with --resume.

examples:
  abbe distill cmkd --data.path tissue/ --data.channels nucleus membrane \\
      --teacher.kind masks --teacher.path masks/ --student.encoder-weights imagenet --out runs/a
  abbe distill mine.yaml --student.architecture unet-mobilenetv3 --out runs/b
  abbe distill runs/a --resume
  abbe distill runs/a --evidence full --resume
  abbe distill cmkd --help          (with 'kdsam' for KD SAM's keys, and so on)"""


def run(words: list[str]) -> int:
    """``abbe distill``."""
    if not words or words[0].startswith("-"):
        say(DISTILL_HELP)
        return 0 if words and words[0] in ("-h", "--help") else 2
    from abbe.recipes.shipped import values_of

    source, values = values_of(words[0])
    experiment, options = parse_experiment(
        f"distill {words[0]}",
        words[1:],
        DISTILL_HELP,
        source=source,
        values=values,
        options=DistillOptions,
    )
    from abbe.reporting.tables import plain_table
    from abbe.runs.distill import distill

    with going_on_told("distill", experiment.out, trust_code=options.trust_code):
        finished = distill(experiment, resume=options.resume, trust_code=options.trust_code)
    if os.environ.get("RANK", "0") == "0":
        say(f"\n{plain_table(finished.summary)}\n\nreport: {finished.report}")
    return 0
