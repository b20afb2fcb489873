"""One loop over stages: precision, averaging, validation, early stopping, exact resume."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from timm.layers.norm_act import convert_sync_batchnorm
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils.data import DataLoader

from abbe.datasets.training.batches import Batch
from abbe.errors import AbbeError, InputError, MemoryShortError
from abbe.machine.memory import freed_memory_kept
from abbe.machine.pace import Pace
from abbe.progress import bar as progress_bar
from abbe.training.checkpoint import load_checkpoint, save_checkpoint
from abbe.training.clock import Clock
from abbe.training.depthwise import depthwise_format
from abbe.training.interrupts import leave_stopping_to_main, stop_asked
from abbe.training.log import Log
from abbe.training.loss_of import LossOf
from abbe.training.parts import frozen_parts, only_parts_train, parameter_groups
from abbe.training.previews import Previews
from abbe.training.stage import Schedule, Stage
from abbe.training.tally import Tally

LOG_EVERY = 10
"""Steps between lines of the log."""

PACED_AT = 2
"""The report that tells the pace: the first steps are slow."""


@dataclass(frozen=True)
class Fitted:
    """What a stage came to.

    Attributes:
        steps: steps taken, fewer than planned after early stopping.
        best: the best value of the watched metric, and the step it was reached at.
        images_per_second: over the whole stage, validation left out.
        share_waiting: share of the training time spent waiting for data.
        share_validating: share of the stage's whole time spent on validation.
    """

    steps: int
    best: tuple[float, int] | None
    images_per_second: float
    share_waiting: float
    share_validating: float = 0.0


def learning_rate(schedule: Schedule, step: int) -> float:
    """Linear warm-up, then a half cosine down to the final rate, at ``step`` counted from 0."""
    warm = max(1, round(schedule.warmup * schedule.steps))
    if step < warm:
        return schedule.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, schedule.steps - warm)
    swing = (schedule.learning_rate - schedule.final_learning_rate) / 2
    return schedule.final_learning_rate + swing * (1 + math.cos(math.pi * share))


@contextmanager
def _shortage_told() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryShortError(
            f"training does not fit into the GPU's memory ({error}). Give a smaller "
            "--training.batch-size or --training.crop; checkpoints are kept"
        ) from error


@_shortage_told()
def fit(
    stage: Stage,
    accelerator: Accelerator,
    log: Log,
    checkpoint: Path,
    *,
    seed: int = 0,
    workers: int = 0,
    resume: bool = False,
    progress: bool = True,
    paced: Callable[[float], str] | None = None,
    previews: Path | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train ``stage.trains`` in place; it ends with the best (or last) averaged weights.

    Batches and random numbers depend on the seed and the step alone, so a run that is killed and
    resumed takes the same way as one that was not.

    Args:
        stage: what to train and how.
        accelerator: device, precision and processes.
        log: where values go.
        checkpoint: file of this stage's state, written at every validation and when a signal
            (Ctrl+C, SIGTERM) ends the training.
        seed: seed of dropout and the like.
        workers: processes that prepare batches; 0 prepares them in this one.
        resume: continue from ``checkpoint`` if it exists.
        progress: show a progress bar.
        paced: told once how many seconds a step takes, when that is known; what it answers, if
            anything, is left as a line above the bar.
        previews: folder for pictures of what the network answers at validations; None for none.
        watch: told of each validation, once a checkpoint is written: its step, and the seconds
            since the stage began. What it raises ends the training.

    Raises:
        AbbeError: the loss, a weight or the watched score is no longer a finite number.
        MemoryShortError: a GPU's memory is too small.
        KeyboardInterrupt: a signal asked to stop; the checkpoint holds the last step.
    """
    state = load_checkpoint(checkpoint) if resume and checkpoint.exists() else None
    if state is not None and "finished" in state:
        return _taken_over(stage, state, checkpoint)
    run = _Run(stage, accelerator, log, checkpoint, seed, previews)
    if resume:
        if state is not None:
            _restore(run, state, checkpoint)
        run.forget_after()
    shown = progress and accelerator.is_main_process
    name = f"{log.model} · {stage.name}"
    with (
        freed_memory_kept(accelerator.device.type == "cpu"),
        progress_bar(name, stage.schedule.steps, start=run.step, shown=shown) as bar,
        stop_asked() as asked,
        Pace(bar.note, fixed=not run.alone_on_cpu) as pace,
    ):
        fitted = None
        for batch in run.batches(workers):
            seconds = run.train_step(batch)
            pace.after_step(seconds)
            last = run.step == stage.schedule.steps
            validates = last or run.step % stage.schedule.validate_every == 0
            reports = validates or run.step % LOG_EVERY == 0
            stops = run.agreed(asked(), now=reports)
            # Before a checkpoint too: what is logged after it then depends on later steps alone.
            if reports or stops:
                bar.move_to(run.step)
                bar.say(run.report())
                if paced is not None and run.reports == PACED_AT and (told := paced(run.pace)):
                    bar.note(told)
            if validates or stops:
                run.require_finite_weights()
                if validates:
                    run.validate()
                fitted = run.write(last=last)
                for note in filter(None, (run.state(), run.advice())):
                    bar.note(note)
                if validates and watch is not None:
                    watch(run.step, run.clock.seconds)
            if stops:
                raise KeyboardInterrupt
            if run.stopped:
                break
        if run.agreed(asked(), now=True):  # while the last checkpoint was made
            raise KeyboardInterrupt
    return fitted or run.finish()


def _taken_over(stage: Stage, state: Mapping[str, Any], checkpoint: Path) -> Fitted:
    """The result of a stage that was finished before."""
    with _of_this_network(checkpoint):
        stage.trains.load_state_dict(state["network"])
        best = state["finished"]["best"]
        return Fitted(**{**state["finished"], "best": best and tuple(best)})


def _restore(run: "_Run", state: dict[str, Any], checkpoint: Path) -> None:
    with _of_this_network(checkpoint):
        run.restore(state)


@contextmanager
def _of_this_network(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{checkpoint}: was written for another network or by another version of Abbe "
            f"({error}). Delete it to train this stage again"
        ) from error


class _Run:
    """The state of a stage while it trains."""

    def __init__(
        self,
        stage: Stage,
        accelerator: Accelerator,
        log: Log,
        checkpoint: Path,
        seed: int,
        previews: Path | None = None,
    ) -> None:
        self.stage, self.accelerator, self.log = stage, accelerator, log
        self.checkpoint, self.seed, self.schedule = checkpoint, seed, stage.schedule
        if self.schedule.sync_batch_norm and accelerator.num_processes > 1:
            # timm's rather than torch's, which would drop the activation within timm's own norms.
            convert_sync_batchnorm(stage.trains)
        stage.trains.to(memory_format=torch.channels_last)
        only_parts_train(stage.trains, stage.parts)
        self.frozen = frozen_parts(stage.trains)
        loss_of = LossOf(
            stage.trains,
            stage.terms,
            stage.weighting([term.name for term in stage.terms]),
            stage.forward,
        )
        groups = parameter_groups(loss_of, self.schedule.weight_decay, stage.parts or {"": 1.0})
        # One pass over the weights on CPUs; on other devices torch chooses.
        fused = True if accelerator.device.type == "cpu" else None
        self.optimizer = torch.optim.AdamW(groups, fused=fused)
        self.trained, self.optimizer = accelerator.prepare(loss_of, self.optimizer)
        self.loss_of: LossOf = accelerator.unwrap_model(self.trained)
        self.teacher = stage.teacher
        if self.teacher is not None:
            self.teacher = self.teacher.to(accelerator.device).eval().requires_grad_(False)
        self.average = None
        if self.schedule.ema:
            self.average = ModelEmaV3(
                self.loss_of.network, decay=self.schedule.ema, use_warmup=True, foreach=True
            )
        self.step, self.waited, self.trained_for, self.images = 0, 0.0, 0.0, 0
        self.best: tuple[float, int] | None = None
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.stopped = False
        self.tally = Tally(stage.terms, accelerator)
        self._since = (0, 0.0, 0.0)  # step, waited, trained_for at the last report
        self.reports, self.pace = 0, 0.0  # since this start; seconds a step between the last two
        self.clock = Clock()
        self.previews = None
        if stage.preview is not None and previews is not None and accelerator.is_main_process:
            self.previews = Previews(
                stage.preview, previews, checkpoint.stem, stage.name, log,
                steps=self.schedule.steps, every=self.schedule.validate_every,
            )  # fmt: skip

    def forget_after(self) -> None:
        """Drop what an interrupted run told beyond the step that this one goes on from."""
        self.log.forget_after(self.stage.name, self.step)
        if self.previews is not None:
            self.previews.forget_after(self.step)

    def batches(self, workers: int) -> Iterator[Batch]:
        """The remaining batches, with the time spent waiting for each of them counted."""
        loader = DataLoader(
            self.stage.batches,  # pyright: ignore[reportArgumentType]  # has __getitem__, no length
            batch_size=None,
            sampler=range(self.step, self.step if self.stopped else self.schedule.steps),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=leave_stopping_to_main,
        )
        ready = iter(loader)
        while True:
            started = time.perf_counter()
            batch = next(ready, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - started
            self.trained_for += time.perf_counter() - started
            yield batch

    @property
    def alone_on_cpu(self) -> bool:
        """Whether the pace is up to this process's threads."""
        return self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1

    def train_step(self, batch: Batch) -> float:
        """Take a step; how long it took, s."""
        started = time.perf_counter()
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        rate = learning_rate(self.schedule, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["faster"]
        device = self.accelerator.device
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
        self.trained.train()
        for part in self.frozen:
            part.eval()
        with (
            self.accelerator.autocast(),
            depthwise_format(device, self.accelerator.mixed_precision),
        ):
            if self.teacher is not None:
                with torch.inference_mode():
                    answer = self.stage.forward_teacher(self.teacher, batch)
                batch["target"] = answer.clone()
            loss, terms, weights = self.trained(batch)
        self.accelerator.backward(loss)
        self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.average is not None:
            self.average.update(self.loss_of.network, step=self.step)
        self.tally.add(loss, terms, weights)
        self.images += len(batch["image"]) * self.accelerator.num_processes
        seconds = time.perf_counter() - started
        self.trained_for += seconds
        return seconds

    def _clip(self) -> None:
        """Bring the gradient to its largest norm; on a CPU one below it is left alone."""
        weights, clip = list(self.trained.parameters()), self.schedule.clip
        if self.accelerator.device.type != "cpu":
            self.accelerator.clip_grad_norm_(weights, clip)
            return
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if norm > clip:
            clip_grads_with_norm_(weights, clip, norm)

    def agreed(self, asked: bool, *, now: bool) -> bool:
        """Whether to stop; several processes tell each other only when they report anyway."""
        if self.accelerator.num_processes == 1:
            return asked
        if not now:
            return False
        told = torch.tensor(float(asked), device=self.accelerator.device)
        reduced: Any = self.accelerator.reduce(told, reduction="sum")
        return bool(reduced)

    def report(self) -> str:
        """Log the means since the last report; a short text for the progress bar."""
        step, waited, trained_for = self._since
        steps = self.step - step
        loss, means = self.tally.means(steps)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of {self.log.model} is {loss}")
        seconds = max(self.trained_for - trained_for, 1e-9)
        speed = steps * self.stage.batches.batch_size / seconds
        self.log.write(
            self.stage.name,
            self.step,
            steps=self.schedule.steps,
            loss=loss,
            **means,
            learning_rate=learning_rate(self.schedule, self.step - 1),
            images_per_s=speed,
            share_waiting=(self.waited - waited) / seconds,
            seconds=self.clock.seconds,
        )
        self._since = (self.step, self.waited, self.trained_for)
        self.reports, self.pace = self.reports + 1, seconds / steps
        return f"{speed:.1f} images/s · loss {loss:.4f}"

    def _diverged(self, what: str) -> AbbeError:
        return AbbeError(
            f"{what} at step {self.step} of stage '{self.stage.name}': lower "
            "training.learning_rate, or set training.precision to fp32. What was computed before "
            "is in the checkpoint"
        )

    def require_finite_weights(self) -> None:
        """Keep weights that one bad gradient has spoilt out of the checkpoint."""
        weights = self.loss_of.parameters()
        if not torch.stack([weight.detach().isfinite().all() for weight in weights]).all():
            raise self._diverged(f"weights of {self.log.model} are no longer finite")

    def validate(self) -> None:
        """Score and draw the averaged weights, keep them if they are the best, decide to stop."""
        if self.stage.validate is None:
            return
        network = self.averaged
        values: list[Any] = [None]
        if self.accelerator.is_main_process:
            with self.clock.validating():
                scores = self.stage.validate(network)
                # First the one that chooses, as whoever reads the log takes it.
                values = [{self.stage.watch: scores[self.stage.watch], **scores}]
            share = self.clock.share_validating
            self.log.write(self.stage.name, self.step, validation=values[0], share_validating=share)
        value = broadcast_object_list(values)[0][self.stage.watch]
        if math.isnan(value):
            raise AbbeError(
                f"the validation score '{self.stage.watch}' is not a number: no validation image "
                "has a pixel whose label is known. Move labelled images to the split 'val'"
            )
        if self.best is None or value > self.best[0]:
            self.best = (value, self.step)
            self.best_weights = _copy(network.state_dict())
        if self.previews is not None:
            self.previews.draw(network, self.step)
        patience = self.schedule.patience
        waited = (self.step - self.best[1]) // self.schedule.validate_every
        self.stopped = patience is not None and waited >= patience

    def state(self) -> str:
        """Where the run stands, in a line."""
        name = f"{self.log.model} · {self.stage.name}: step {self.step} of {self.schedule.steps}"
        if self.best is None:
            return f"{name}, checkpoint written"
        value, step = self.best
        return f"{name}, best {self.stage.watch} {value:.4f} at step {step}, checkpoint written"

    def advice(self) -> str | None:
        """What to set where validation takes much of the time; said once."""
        if self.stopped or self.step == self.schedule.steps:
            return None
        name = f"{self.log.model} · {self.stage.name}"
        return self.clock.advice(self.step, name, self.schedule.steps)

    @property
    def averaged(self) -> nn.Module:
        return self.loss_of.network if self.average is None else self.average.module

    def write(self, *, last: bool) -> Fitted | None:
        """Write the checkpoint; at the stage's end, what is left of it, which is less."""
        if last or self.stopped:
            return self.finish()
        self.save()
        return None

    def save(self) -> None:
        """Write everything that the next step depends on."""
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        save_checkpoint(
            self.checkpoint,
            {
                "step": self.step,
                "trained": self.loss_of.state_dict(),
                "average": None if self.average is None else self.average.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "best": self.best,
                "best_weights": self.best_weights,
                "stopped": self.stopped,
                "clock": (self.waited, self.trained_for, self.images),
                "whole_clock": self.clock.state,
            },
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state that :meth:`save` wrote."""
        self.step = state["step"]
        self.loss_of.load_state_dict(state["trained"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.best = state["best"] and tuple(state["best"])
        self.best_weights, self.stopped = state["best_weights"], state["stopped"]
        self.waited, self.trained_for, self.images = state["clock"]
        self.clock = Clock(*state.get("whole_clock", ()))
        self._since = (self.step, self.waited, self.trained_for)

    def finish(self) -> Fitted:
        """Put the best weights, or without validation the last averaged ones, into the network.

        The checkpoint becomes what is needed of a finished stage: a run has many.
        """
        self.loss_of.network.load_state_dict(self.best_weights or self.averaged.state_dict())
        self.accelerator.free_memory(self.trained, self.optimizer)
        seconds = max(self.trained_for, 1e-9)
        shares = self.waited / seconds, self.clock.share_validating
        fitted = Fitted(self.step, self.best, self.images / seconds, *shares)
        # As it is loaded: whether a stage was just finished or before makes no difference then.
        self.stage.trains.to(memory_format=torch.contiguous_format)
        if self.accelerator.is_main_process:
            weights = _copy(self.loss_of.network.state_dict())
            state = {"step": self.step, "finished": asdict(fitted), "network": weights}
            save_checkpoint(self.checkpoint, state)
        return fitted


def _copy(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
