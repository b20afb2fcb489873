"""Images a second of distillation: Abbe with stored targets or a live teacher, and torchdistill.

    python benchmarks/train.py [--steps 6] [--repeats 3] [--workers 1] [--threads 2] [--json FILE]

The arms take turns, each time in a process of its own; of every arm the median of its repeats
counts. The same in all arms: student (unet-resnet18, one channel), teacher (unet-swin-tiny, two
channels, random weights), loss (BCE + Dice against labels, MSE between probabilities, weights 1
and 1, by the same functions), AdamW, gradient clipping, batches of 8 crops of 256² px from the same
simulated images with the same augmentation, processes that prepare them, threads. Timed is from the
loss of one step to that of a later one, so everything that a step needs is in it. The processor
time of a step, without that of the workers, tells the arms apart even on a busy machine; for that,
give --threads 1, since a waiting thread counts as busy.

What differs: torchdistill runs as its examples do, without accelerate, hence in float32, and with
its teacher in every step. Abbe runs as `abbe distill` does: precision by hardware, its own memory
layout, a log, and an exponential moving average of the weights, which torchdistill has not.
Stored targets are made before the clock starts; what that takes is printed too.

On a GPU a step is short: give --steps 200, so that starting the workers does not count as waiting.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

OUTPUTS = ("foreground", "boundary")
STUDENT_SEES = ("nucleus",)
TEACHER_SEES = ("nucleus", "membrane")
BATCH = 8
CROP = 256
IMAGES = 16
IMAGE_SIZE = 320  # holds the largest crop of the default augmentation, so all pixels are valid
WARM_UP = 2
ARMS = {
    "cached": "Abbe, stored targets",
    "live": "Abbe, live teacher",
    "torchdistill": "torchdistill",
}
WANTED = {"cached": 4.0, "live": 2.0}


class Clock:
    """Notes when each step computes its loss; the first steps warm up and do not count."""

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0
        self._start, self._end = (0.0, 0.0), (0.0, 0.0)

    def tick(self) -> None:
        if self.taken == WARM_UP:
            self._start = now()
        elif self.taken == WARM_UP + self.steps:
            self._end = now()
        self.taken += 1

    @property
    def total(self) -> int:
        """Steps to take: those of the warm-up, those measured, and the one that ends the last."""
        return WARM_UP + self.steps + 1

    def figures(self) -> dict[str, float]:
        wall, processor = (end - start for start, end in zip(self._start, self._end, strict=True))
        return {
            "images_per_second": self.steps * BATCH / wall,
            "processor_seconds_a_step": processor / self.steps,
        }


def now() -> tuple[float, float]:
    """Wall and processor time, once a GPU has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of distillation.")
    parser.add_argument("--steps", type=int, default=6, help="measured steps a run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each arm")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch chooses")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        print(json.dumps(run(arguments.arm, arguments.steps, arguments.workers, arguments.threads)))
        return
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    loads = [load()]
    for _ in range(arguments.repeats):
        for arm, done in runs.items():
            done.append(in_own_process(arm, arguments))
            loads.append(load())
            speed = done[-1]["images_per_second"]
            print(f"{ARMS[arm]:24}{speed:8.2f} images/s", file=sys.stderr)
    figures = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "load_average": loads,
        "runs": runs,
        **summary(runs),
    }
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def in_own_process(arm: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options = {name: getattr(arguments, name) for name in ("steps", "workers", "threads")}
    command = [sys.executable, __file__, "--arm", arm]
    command += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the repeats, and ratios of the medians to torchdistill."""

    def medians(figure: str) -> dict[str, float]:
        return {
            arm: statistics.median(run[figure] for run in done)
            for arm, done in runs.items()
            if figure in done[0]
        }

    speed, processor = medians("images_per_second"), medians("processor_seconds_a_step")
    return {
        "images_per_second": speed,
        "ratio": {arm: speed[arm] / speed["torchdistill"] for arm in ARMS},
        "processor_seconds_a_step": processor,
        "ratio_by_processor": {arm: processor["torchdistill"] / processor[arm] for arm in ARMS},
        "share_waiting": medians("share_waiting"),
    }


def show(figures: dict[str, Any]) -> None:
    print(f"{'':24}{'images/s':>9}{'runs':>18}{'ratio':>7}{'wanted':>7}", end="")
    print(f"{'processor s/step':>18}{'ratio':>7}{'waiting':>9}  precision")
    for arm, name in ARMS.items():
        done = figures["runs"][arm]
        each = " ".join(f"{run['images_per_second']:.2f}" for run in done)
        wanted = f"{WANTED[arm]:.1f}" if arm in WANTED else ""
        waiting = figures["share_waiting"].get(arm)
        print(
            f"{name:24}{figures['images_per_second'][arm]:9.2f}{each:>18}"
            f"{figures['ratio'][arm]:7.2f}{wanted:>7}"
            f"{figures['processor_seconds_a_step'][arm]:18.2f}"
            f"{figures['ratio_by_processor'][arm]:7.2f}"
            f"{'' if waiting is None else f'{waiting:.1%}':>9}  {done[0]['precision']}"
        )
    teaching = figures["runs"]["cached"][0]["teaching_seconds"]
    print(f"targets of {IMAGES} images, made once: {teaching:.1f} s")
    print(json.dumps({name: value for name, value in figures.items() if name != "runs"}))


def load() -> float:
    """Processes that want to run, mean over the last minute; ours is among them."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "platform": platform.platform(),
        "torch": torch.__version__,
    }


def run(arm: str, steps: int, workers: int, threads: int) -> dict[str, Any]:
    """One run of one arm, in this process."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    clock = Clock(steps)
    result = (
        run_torchdistill(clock, workers)
        if arm == "torchdistill"
        else run_abbe(clock, workers, live=arm == "live")
    )
    return {
        **clock.figures(),
        "threads": torch.get_num_threads(),
        **result,
    }


def networks() -> tuple[Any, Any]:
    """The student, and the frozen teacher."""
    import torch

    from abbe import students

    torch.manual_seed(0)
    student = students.build(
        "unet-resnet18", in_channels=len(STUDENT_SEES), outputs=OUTPUTS, encoder_weights="random"
    )
    teacher = students.build(
        "unet-swin-tiny", in_channels=len(TEACHER_SEES), outputs=OUTPUTS, encoder_weights="random"
    )
    return student, teacher.eval().requires_grad_(False)


def images() -> list[Any]:
    """Simulated tissue, decoded and normalised as for any run."""
    from abbe.datasets import simulated_tissue
    from abbe.datasets.training.prepare import prepare

    return prepare(simulated_tissue(IMAGES, size=IMAGE_SIZE), TEACHER_SEES)


def batches(images: list[Any], batch_size: int, *, live: bool) -> Any:
    """Crops with the augmentation that a run has by default."""
    from abbe import config
    from abbe.runs.build import build_batches

    training = config.Training(batch_size=batch_size, crop=CROP)
    teacher_channels = TEACHER_SEES if live else None
    return build_batches(
        images, training, input_channels=STUDENT_SEES, teacher_channels=teacher_channels, seed=0
    )


def terms(clock: Clock) -> tuple[Any, Any]:
    """The two terms of the loss; the first, which every step computes once, drives the clock."""
    from abbe import losses
    from abbe.recipes.cmkd import probability_term, supervised_term

    supervised = supervised_term(OUTPUTS, OUTPUTS)

    def timed(logits: Any, batch: Any) -> Any:
        clock.tick()
        return supervised.loss(logits, batch)

    return (
        replace(supervised, loss=timed),
        probability_term(OUTPUTS, OUTPUTS, losses.probability_mse),
    )


def run_abbe(clock: Clock, workers: int, *, live: bool) -> dict[str, Any]:
    """Training by :func:`abbe.training.fit.fit`, as `abbe distill` calls it."""
    from abbe import losses
    from abbe.training.fit import fit
    from abbe.training.log import Log, make_accelerator
    from abbe.training.stage import Schedule, Stage

    student, teacher = networks()
    taught, started = images(), time.perf_counter()
    if not live:
        taught = [with_target(image, teacher) for image in taught]
    teaching = time.perf_counter() - started
    stage = Stage(
        "distil",
        trains=student,
        batches=batches(taught, BATCH, live=live),
        terms=terms(clock),
        weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
        schedule=Schedule(clock.total, learning_rate=1e-3),
        teacher=teacher if live else None,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        accelerator = make_accelerator(folder, trackers=())
        log = Log(folder / "log.jsonl", accelerator, "student")
        fitted = fit(
            stage, accelerator, log, folder / "checkpoint.pt", workers=workers, progress=False
        )
        accelerator.end_training()
    precision = accelerator.mixed_precision
    return {
        "share_waiting": fitted.share_waiting,
        "teaching_seconds": 0.0 if live else teaching,
        "precision": "float32" if precision == "no" else precision,
    }


def with_target(image: Any, teacher: Any) -> Any:
    """The image with what the teacher says of it, in 8 bits as the target store keeps it."""
    import numpy as np

    from abbe import students

    probability = students.predict(teacher, image.whole())
    return replace(image, probability=np.rint(255 * probability).astype(np.uint8))


def run_torchdistill(clock: Clock, workers: int) -> dict[str, Any]:
    """Training by torchdistill's DistillationBox, in the loop of its own examples."""
    import torch
    from torchdistill.core.distillation import get_distillation_box

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student, teacher = networks()
    register(terms(clock))
    box: Any = get_distillation_box(
        teacher,
        student,
        {"crops": crops(images(), clock.total)},
        configuration(workers),
        device,
        None,
        False,
        1.0,
    )
    box.pre_epoch_process(epoch=0)
    for sample, target, more in box.train_data_loader:
        sample = sample.to(device)
        target = {name: value.to(device) for name, value in target.items()}
        loss = box.forward_process(sample, target, more)
        box.post_forward_process(loss=loss)
        if not torch.isfinite(loss):
            raise SystemExit(f"the loss is {loss.item()}")
    box.post_epoch_process()
    return {"precision": "float32"}


def configuration(workers: int) -> dict[str, Any]:
    """What a user of torchdistill writes into a YAML file."""
    import torch
    from torch.utils.data import RandomSampler

    def term(key: str) -> dict[str, Any]:
        return {"criterion": {"key": key, "kwargs": {}}, "weight": 1.0}

    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "crops",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {
                "batch_size": BATCH,
                "num_workers": workers,
                "pin_memory": torch.cuda.is_available(),
            },
        },
        "teacher": {"forward_proc": "teacher_channels", "requires_grad": False},
        "student": {"forward_proc": "student_channels"},
        "optimizer": {
            "key": "AdamW",
            "kwargs": {"lr": 1e-3, "weight_decay": 1e-4},
            "max_grad_norm": 1.0,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"supervised": term("labels"), "probability": term("teacher")}},
        },
    }


def register(both: tuple[Any, Any]) -> None:
    """Tell torchdistill how each network is called and what the terms of the loss are.

    torchdistill gives teacher and student one input: the student's image and the teacher's, stacked
    along the channels.
    """
    from torch import nn
    from torchdistill.core.interfaces.registry import register_forward_proc_func
    from torchdistill.losses.registry import register_mid_level_loss

    supervised, probability = both
    first = len(STUDENT_SEES)

    @register_forward_proc_func(key="student_channels")
    def _(model: Any, sample: Any, *_: Any, **__: Any) -> Any:
        return model(sample[:, :first])

    @register_forward_proc_func(key="teacher_channels")
    def _(model: Any, sample: Any, *_: Any, **__: Any) -> Any:
        return model(sample[:, first:])

    def loss(key: str, term: Callable[[Any, Any, Any], Any]) -> None:
        @register_mid_level_loss(key=key)
        class _Loss(nn.Module):
            def forward(self, student: Any, teacher: Any, batch: Any, *_: Any, **__: Any) -> Any:
                return term(student["."]["output"], teacher["."]["output"], batch)

    loss("labels", lambda logits, _, batch: supervised.loss(logits, batch))
    loss(
        "teacher",
        lambda logits, answer, batch: probability.loss(
            logits, {**batch, "target": answer.sigmoid()}
        ),
    )


def crops(images: list[Any], steps: int) -> Any:
    """As a torch data set: the crops of Abbe's live arm, one by one."""
    import torch
    from torch.utils.data import Dataset

    drawn = batches(images, 1, live=True)

    class Crops(Dataset[Any]):
        def __len__(self) -> int:
            return steps * BATCH

        def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            crop = {name: value[0] for name, value in drawn[index].items()}
            sample = torch.cat([crop.pop("image"), crop.pop("teacher_image")])
            return sample, crop

    return Crops()


if __name__ == "__main__":
    main()
