"""The demo: both runs of cross-modal distillation on simulated tissue."""

from pathlib import Path

from abbe import config
from abbe.recipes.shipped import recipe_path
from abbe.runs.distill import distill
from abbe.runs.folder import Run, open_run


def demo(out: Path) -> Run:
    """Train the teacher, then the student and its baselines; an interrupted demo goes on.

    Args:
        out: folder of the two runs, ``teacher`` and ``student``.
    """
    teacher = out / "teacher"
    _finish("demo-teacher", {"out": str(teacher)})
    return _finish(
        "demo", {"out": str(out / "student"), "teacher": {"kind": "run", "path": str(teacher)}}
    )


def _finish(name: str, changes: dict[str, object]) -> Run:
    source = recipe_path(name)
    experiment = config.parse({**config.read_values(source), **changes}, str(source))
    if (experiment.out / "summary.json").exists():
        run = open_run(experiment.out)
        if run.summary.evidence.complete:
            return run
    return distill(experiment, resume=True)
