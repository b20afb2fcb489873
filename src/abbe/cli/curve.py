"""``abbe curve``: how many labels it takes."""

from dataclasses import dataclass

from abbe.cli.shared.arguments import Computing, going_on_told, say
from abbe.cli.shared.experiment import parse_experiment


@dataclass(frozen=True)
class CurveOptions(Computing):
    """Options of ``abbe curve`` beside the keys of the experiment file."""

    fractions: tuple[float, ...] | None = None
    """Shares of the training labels; 0.01 0.05 0.1 0.25 0.5 1 where omitted."""
    seeds: tuple[int, ...] | None = None
    """Each draws its own labels, new layers and batches; 0 1 2 where omitted."""
    initialisations: tuple[str, ...] | None = None
    """Of recipe rckd: random, given (student.encoder-weights as they are), contrastive (SimCLR),
    rckd, rckd+contrastive; where omitted, all that teacher and weights allow. given is always added
    where weights are named."""
    pretrain_per_seed: bool = False
    """Pretrain anew for each seed, so that intervals cover the luck of pretraining, too."""
    trust_code: bool = False
    """Let a teacher of kind torch import and call the Python code that teacher.path names."""
    resume: bool = False
    """Finish a curve that was interrupted, or add shares, seeds or initialisations to it."""
    cluster: str | None = None
    """Workers by which the teacher answers and networks are trained: local:N (processes here),
    tcp://HOST:PORT (a dask scheduler), or a .yaml file of dask-jobqueue (SLURM, LSF, PBS, SGE);
    this process alone where omitted."""


CURVE_HELP = """Train at growing shares of the labels, over seeds, and plot what the labels buy.

usage: abbe curve RECIPE|FILE.yaml|CURVE [--fractions …] [--seeds …] [--resume] [--KEY VALUE …]

RECIPE is rckd (initialisations are compared: random, given, contrastive, rckd, rckd+contrastive)
or cmkd (the student with its baselines). The teacher answers once, an initialisation is pretrained
once, and all shares begin with it. At one seed, all that is compared keeps the same labels, and
every share contains the smaller ones. Every key that the recipe reads can be set.

examples:
  abbe curve rckd --data.path tiles_by_class/ --pretrain-data.kind slides \\
      --pretrain-data.path slides/ --teacher.kind run --teacher.path runs/nuclei \\
      --student.encoder-weights random --fractions 0.01 0.05 0.1 0.25 0.5 1 --seeds 0 1 2 \\
      --initialisations random contrastive rckd --out curves/tiles
  abbe curve cmkd --data.path tissue/ --data.channels nucleus membrane \\
      --teacher.kind masks --teacher.path masks/ --student.encoder-weights imagenet --out curves/a
  abbe curve curves/tiles --resume
  abbe curve curves/tiles --resume --seeds 0 1 2 3 4
  abbe curve curves/tiles --resume --cluster slurm.yaml
  abbe curve rckd --help            (with 'cmkd' for CMKD's keys)

In --out come curve.csv (a row a training), curve.png and curve.svg, summary.json, scores.parquet
(by test image), labels.csv (which images keep their labels when) and report.html."""

SETTLED = ("data.labelled", "pretraining.method")
"""Keys in whose place stand the fractions and the initialisations."""


def run(words: list[str]) -> int:
    """``abbe curve``."""
    if not words or words[0].startswith("-"):
        say(CURVE_HELP)
        return 0 if words and words[0] in ("-h", "--help") else 2
    from abbe.curves.plan import for_curve
    from abbe.recipes.shipped import values_of

    source, values = values_of(words[0])
    experiment, options = parse_experiment(
        f"curve {words[0]}",
        words[1:],
        CURVE_HELP,
        source=source,
        values=for_curve(values),
        options=CurveOptions,
        settled=SETTLED,
    )
    from abbe.curves.curve import curve
    from abbe.curves.results import table

    with going_on_told("curve", experiment.out, trust_code=options.trust_code):
        made = curve(
            experiment,
            fractions=options.fractions,
            seeds=options.seeds,
            initialisations=options.initialisations,
            pretrain_per_seed=options.pretrain_per_seed,
            resume=options.resume,
            trust_code=options.trust_code,
            cluster=options.cluster,
            say=say,
        )
    if made.summary is not None:
        say(f"\n{table(made.summary)}\n\nreport: {made.report}")
    return 0
