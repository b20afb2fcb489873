"""The networks that a finished run has trained, as they are scored, with their thresholds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from abbe.errors import InputError
from abbe.runs.folder import Run, require_weights
from abbe.summary import BASELINES, SEEDS, Thresholds
from abbe.tasks.task import BySeed, Task


def trained_models(
    run: Run, task: Task, input_channels: tuple[str, ...]
) -> tuple[dict[str, BySeed], dict[str, Mapping[int | None, Thresholds]]]:
    """A run's student and baselines of all its seeds, as they are scored, and their thresholds.

    Raises:
        InputError: a file is missing or damaged, or reads another number of channels.
    """
    models: dict[str, BySeed] = {}
    cut: dict[str, Mapping[int | None, Thresholds]] = {}
    first = run.summary.seed or 0
    for name in ("student", *BASELINES):
        by_seed, thresholds = {}, {}
        for seed in run.summary.evidence.seeds or [first]:
            place = run.folder if seed == first else run.folder / SEEDS / str(seed)
            path = place / f"{name}.safetensors"
            if path.relative_to(run.folder).as_posix() in run.summary.weights_sha256:
                require_weights(path, run.folder)
            if path.exists():
                network, metadata = task.load(path)
                _require_channels(path, metadata["channels"], input_channels)
                by_seed[seed] = task.model(network, metadata, input_channels)
                if name in run.summary.thresholds:  # the file says where, the summary on what
                    of_run = run.summary.thresholds[name]
                    own = metadata.get("thresholds", {})
                    thresholds[seed] = of_run.model_copy(update=own)
        if by_seed:
            models[name] = by_seed
        if thresholds:
            cut[name] = thresholds
    return models, cut


def _require_channels(path: Path, reads: Sequence[str], input_channels: Sequence[str]) -> None:
    if len(input_channels) != len(reads):
        raise InputError(
            f"{path}: reads {', '.join(reads)}; name as many channels of the other set, in that "
            "order, with --student-channels"
        )
