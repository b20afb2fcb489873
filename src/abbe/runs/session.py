"""Where and how the stages of a run are trained."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from accelerate import Accelerator

from abbe import config
from abbe.cluster import Workers
from abbe.runs import build
from abbe.runs.accounts.environment import write_environment
from abbe.runs.lost import Lost
from abbe.summary import PREVIEWS, SEEDS
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log, open_accelerator
from abbe.training.stage import Stage


@dataclass(frozen=True)
class Session:
    """A folder, what computes, and what the user said beside the experiment."""

    folder: Path
    accelerator: Accelerator
    lost: Lost
    seed: int
    workers: int
    resume: bool
    trust_code: bool
    progress: bool
    previews: bool = True
    """Whether pictures of validation images are drawn while networks train."""
    suffix: str = ""
    """What log and progress bars add to a network's name."""
    watch: Callable[[int, float], None] | None = None
    """Told of each validation; see `abbe.training.fit.fit`."""
    helpers: Workers | None = None
    """Workers of a cluster by whom a teacher answers; None for this process."""
    log: str = "log.jsonl"
    """The file of what is told while networks train."""

    @classmethod
    @contextmanager
    def start(
        cls,
        experiment: config.Experiment,
        folder: Path,
        lost: Lost,
        *,
        resume: bool,
        trust_code: bool,
        progress: bool,
        watch: Callable[[int, float], None] | None = None,
    ) -> Iterator[Self]:
        """Begin, or go on with, a run in its folder; environment.json says on what."""
        training = experiment.training
        with open_accelerator(
            folder,
            precision=training.precision,
            trackers=training.trackers,
            sync_batch_norm=training.sync_batch_norm,
        ) as accelerator:
            if accelerator.is_main_process:
                precision = accelerator.mixed_precision
                write_environment(
                    folder,
                    device=str(accelerator.device),
                    precision="fp32" if precision == "no" else precision,
                    seed=experiment.seed,
                )
            yield cls(
                folder, accelerator, lost, experiment.seed, build.workers(training.workers), resume,
                trust_code, progress, watch=watch,
            )  # fmt: skip

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.accelerator.is_main_process

    @property
    def shown(self) -> bool:
        """Whether this process shows progress."""
        return self.progress and self.is_main

    def within(self, *parts: str, seed: int | None = None) -> "Session":
        """The same in a folder below, which is made; perhaps with another seed."""
        folder = self.folder.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return replace(self, folder=folder, seed=self.seed if seed is None else seed)

    def of_seed(self, seed: int) -> "Session":
        """The session of another seed's trainings, in a folder of its own; itself for its own."""
        if seed == self.seed:
            return self
        return replace(self.within(SEEDS, str(seed), seed=seed), suffix=f", seed {seed}")

    def fit(self, stage: Stage, name: str, paced: Callable[[float], str] | None = None) -> Fitted:
        """Train a stage, or what is left of it.

        Args:
            stage: what is trained, and how.
            name: what log and progress bar call it.
            paced: see `abbe.training.fit.fit`.
        """
        return fit(
            stage,
            self.accelerator,
            Log(self.folder / self.log, self.accelerator, name + self.suffix),
            self.folder / "checkpoints" / f"{name}-{stage.name}.pt",
            seed=self.seed,
            workers=self.workers,
            resume=self.resume,
            progress=self.progress,
            paced=paced,
            previews=self.folder / PREVIEWS if self.previews else None,
            watch=self.watch,
        )

    def forget_checkpoints(self) -> None:
        """Remove the checkpoints of stages that are done."""
        for checkpoint in (self.folder / "checkpoints").glob("*.pt"):
            checkpoint.unlink()
