"""Where a training step goes, by recipe, and what share of the processor's speed it reaches.

    python benchmarks/steps.py [cmkd kdsam rckd] [--steps 40] [--threads 2] [--json FILE]
    python benchmarks/steps.py cmkd --against FOLDER/src [--turns 3]
    python benchmarks/steps.py cmkd --batch 16 --crop 256   (as runs have it by default)
    python benchmarks/steps.py --threads 1 --busy

Runs are those of `abbe distill`, on simulated tissue, with every part timed:

cmkd    unet-resnet18 of one channel, crops of 128 px, batches of 8, masks as targets
kdsam   promptable-resnet18 of 256 px, batches of 4, a tiny random SAM (a stand-in) as teacher
rckd    unet-csat-like of three channels, crops of 128 px, batches of 8, masks as targets

forward, backward   of the network
loss                its terms; their gradient is in backward
update              clipping, optimiser, moving average
waiting             for the data; what making them takes, in another process, is "augmentation"
else                the loop itself: copies to the device, logs, seeds
validation          share of the whole stage

The speed of matrix products (1024 × 1024, bf16 and fp32) is measured in the same run. A forward
pass has two operations a MAC, the backward pass twice as many; no share is said of stages that
train a part of the counted network (kdsam's second). The first steps do not count; medians of the
others.

On a busy machine, --busy counts processor time with one thread instead of time that passes, also
of the matrix products.

With --against, another source tree trains in turns with this one (A B A B …), each time in a
process of its own. Ratios hold within one call. Begin with a load below 0.3.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

RECIPES = ("cmkd", "kdsam", "rckd")
PARTS = ("waiting", "forward", "loss", "backward", "update", "else")
WARM_UP, QUIET = 5, 0.3
SIZE = {"batch_size": 8, "crop": 128}
SHARED: dict[str, Any] = {"seeds": 1, "baselines": [], "progress": False}


def main() -> None:
    parser = argparse.ArgumentParser(description="Where a training step goes.")
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0, help="0: as a run chooses them")
    parser.add_argument("--busy", action="store_true", help="parts by processor time")
    parser.add_argument("--crop", type=int, default=128, help="px; of cmkd and rckd")
    parser.add_argument("--batch", type=int, default=8, help="crops; of cmkd and rckd")
    parser.add_argument("--against", type=Path, help="the src folder of another source tree")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.recipes) - set(RECIPES):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(RECIPES)}")
    if arguments.child:
        (recipe,) = arguments.recipes
        SIZE.update(batch_size=arguments.batch, crop=arguments.crop)
        clock = time.process_time if arguments.busy else time.perf_counter
        with mock.patch.object(time, "perf_counter", clock):
            print(json.dumps(measured(recipe, arguments.steps, arguments.threads)))
        return
    load = os.getloadavg()[0]
    print(f"load at the start {load:.2f}{' (not quiet: begin again)' if load > QUIET else ''}")
    here = Path(__file__).resolve().parents[1] / "src"
    trees = [here, *([arguments.against.resolve()] if arguments.against else [])]
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for recipe in arguments.recipes:
        found[recipe] = {str(tree): [] for tree in trees}
        for _ in range(arguments.turns if arguments.against else 1):
            for tree in trees:
                found[recipe][str(tree)].append(in_own_process(recipe, tree, arguments))
        show(recipe, found[recipe])
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def in_own_process(recipe: str, tree: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, recipe, "--child", f"--steps={arguments.steps}"]
    command += [f"--{key}={getattr(arguments, key)}" for key in ("threads", "batch", "crop")]
    command += ["--busy"] if arguments.busy else []
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def show(recipe: str, found: dict[str, list[dict[str, Any]]]) -> None:
    speeds = []
    for tree, runs in found.items():
        for stage in runs[0]["stages"]:
            of_stage = [run["stages"][stage] for run in runs]
            middle = sorted(of_stage, key=lambda each: each["step"])[len(of_stage) // 2]
            step = middle["step"]
            name = f"{recipe} · {stage}" + (f" · {tree}" if len(found) > 1 else "")
            print(f"\n{name}: {1e3 * step:.1f} ms a step, {middle['batch'] / step:.1f} images/s")
            for part in PARTS:
                print(f"  {part:14}{1e3 * middle[part]:8.1f} ms {middle[part] / step:6.1%}")
            print(
                f"  {'augmentation':14}{1e3 * middle['augmentation']:8.1f} ms in another process"
                f"\n  {'processor':14}{1e3 * middle['processor']:8.1f} ms of this process a step"
                f"\n  {'validation':14}{middle['validating']:15.1%} of the stage"
            )
            for part, speed in middle["gflops"].items():
                print(
                    f"  {part:14}{speed:8.0f} GFLOP/s: {speed / runs[0]['bf16']:.0%} of bf16 "
                    f"({runs[0]['bf16']:.0f}), {speed / runs[0]['fp32']:.0%} of fp32 "
                    f"({runs[0]['fp32']:.0f}); it computes in {middle['precision']}"
                )
        first = next(iter(runs[0]["stages"]))
        speeds.append(
            [
                statistics.median(run["stages"][first][kind] for run in runs)
                for kind in ("step", "processor")
            ]
        )
    if len(speeds) == 2:
        wall, processor = (other / ours for ours, other in zip(*speeds, strict=True))
        print(
            f"\n{recipe}: this tree is {wall:.2f} x as fast as the other, {processor:.2f} x by "
            "processor time (which tells them apart on a busy machine, with --threads 1)"
        )


def measured(recipe: str, steps: int, threads: int) -> dict[str, Any]:
    """One run in this process, with its parts timed."""
    from abbe.machine.threads import set_threads, wait_passively

    wait_passively()
    set_threads(threads or None)
    import torch

    before = {name: matrix_speed(getattr(torch, kind)) for name, kind in KINDS.items()}
    with tempfile.TemporaryDirectory() as name, timed() as stages:
        JOBS[recipe](Path(name), steps)
    after = {name: matrix_speed(getattr(torch, kind)) for name, kind in KINDS.items()}
    return {
        **{name: max(before[name], after[name]) for name in KINDS},
        "stages": {name: figures(stage) for name, stage in stages.items()},
    }


KINDS = {"bf16": "bfloat16", "fp32": "float32"}


def matrix_speed(kind: Any, side: int = 1024, repeats: int = 12) -> float:
    """GFLOP/s of a product of square matrices, the median of ``repeats``."""
    import torch

    left, right = torch.rand(2, side, side).to(kind)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.matmul(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds) / 1e9


def figures(stage: dict[str, Any]) -> dict[str, Any]:
    """Medians of one stage, s."""
    found = {part: statistics.median(values[WARM_UP:]) for part, values in stage["parts"].items()}
    step = statistics.median(stage["steps"][WARM_UP:]) + found["waiting"]
    inner = sum(found[part] for part in ("waiting", "forward", "loss", "backward", "update"))
    operations = 2 * stage["macs"] * stage["batch"] / 1e9
    gflops = {
        "forward": operations / found["forward"],
        "backward": 2 * operations / found["backward"],
    }
    return {
        **found,
        "else": step - inner,
        "step": step,
        "processor": statistics.median(stage["processor"][WARM_UP:]),
        "batch": stage["batch"],
        "precision": stage["precision"],
        "augmentation": stage["augmentation"],
        "validating": stage["validating"],
        "gflops": gflops if stage["all of it"] else {},
    }


@contextmanager
def timed() -> Iterator[dict[str, dict[str, Any]]]:
    """Time the parts of all that trains within; by stage."""
    from accelerate import Accelerator
    from timm.utils.model_ema import ModelEmaV3
    from torch.optim import AdamW

    from abbe.training import fit

    stages: dict[str, dict[str, Any]] = {}
    now: dict[str, float] = defaultdict(float)

    def within(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                now[part] += time.perf_counter() - started

        return wrapper

    step, batches = fit._Run.train_step, fit._Run.batches
    finish, begin = fit._Run.finish, fit._Run.__init__

    def begun(self: Any, stage: Any, *others: Any, **options: Any) -> None:
        name = "forward" if hasattr(stage, "forward") else "answer"  # as earlier trees call it
        asked = replace(stage, **{name: within("forward", getattr(stage, name))})
        begin(self, asked, *others, **options)
        stages[stage.name] = facts(self, stage)

    def stepped(self: Any, batch: Any) -> float:
        now.clear()
        spent = time.process_time()
        seconds = step(self, batch)
        record = stages[self.stage.name]
        record["processor"].append(time.process_time() - spent)
        record["steps"].append(seconds)
        parts = {**now, "loss": now["whole"] - now["forward"]}
        for part in ("forward", "loss", "backward", "update"):
            record["parts"][part].append(parts[part])
        return seconds

    def waited(self: Any, workers: int) -> Iterator[Any]:
        before = self.waited
        for batch in batches(self, workers):
            stages[self.stage.name]["parts"]["waiting"].append(self.waited - before)
            before = self.waited
            yield batch

    def finished(self: Any) -> Any:
        fitted = finish(self)
        stages[self.stage.name]["validating"] = fitted.share_validating
        return fitted

    here = hasattr(fit._Run, "_clip")  # earlier trees leave it to accelerate
    clips, clip = (fit._Run, "_clip") if here else (Accelerator, "clip_grad_norm_")
    with (
        mock.patch.object(fit._Run, "__init__", begun),
        mock.patch.object(fit._Run, "train_step", stepped),
        mock.patch.object(fit._Run, "batches", waited),
        mock.patch.object(fit._Run, "finish", finished),
        mock.patch.object(fit.LossOf, "forward", within("whole", fit.LossOf.forward)),
        mock.patch.object(Accelerator, "backward", within("backward", Accelerator.backward)),
        mock.patch.object(clips, clip, within("update", getattr(clips, clip))),
        mock.patch.object(AdamW, "step", within("update", AdamW.step)),
        mock.patch.object(ModelEmaV3, "update", within("update", ModelEmaV3.update)),
    ):
        yield stages


def facts(run: Any, stage: Any) -> dict[str, Any]:
    """What is known of a stage before it begins; a batch is made once to time the augmentation."""
    import torch

    from abbe.network_size import macs_of

    seconds, batch = [], {}
    for number in range(4):
        started = time.perf_counter()
        batch = stage.batches[number]
        seconds.append(time.perf_counter() - started)
    network = copy.deepcopy(getattr(stage.trains, "image_encoder", stage.trains)).to("meta")
    image = torch.empty(1, *batch["image"].shape[1:], device="meta")
    precision = run.accelerator.mixed_precision
    return {
        "batch": len(batch["image"]),
        "macs": macs_of(network.eval(), image),
        "precision": "fp32" if precision == "no" else precision,
        "all of it": all(weight.requires_grad for weight in network.parameters()),
        "augmentation": min(seconds),
        "validating": 0.0,
        "steps": [],
        "processor": [],
        "parts": defaultdict(list),
    }


def cmkd(folder: Path, steps: int) -> None:
    import abbe

    write_masks(folder)
    abbe.distill(
        "cmkd", folder / "images", {"kind": "masks", "path": folder / "masks"},
        out=folder / "run", student="unet-resnet18", input_channels=("nucleus",),
        encoder_weights="random", training=training(steps, **SIZE), **SHARED,
    )  # fmt: skip


def rckd(folder: Path, steps: int) -> None:
    import abbe

    write_masks(folder, channels=3)
    abbe.distill(
        "rckd", {"kind": "folder", "path": folder / "images"},
        {"kind": "masks", "path": folder / "masks"}, out=folder / "run",
        student="unet-csat-like", input_channels=("red", "green", "blue"),
        encoder_weights="random", fine_tuning={"task": "segmentation"},
        pretraining={"steps": steps, **SIZE},
        training=training(steps, **SIZE), **SHARED,
    )  # fmt: skip


def kdsam(folder: Path, steps: int) -> None:
    import abbe

    write_masks(folder, channels=3)
    abbe.distill(
        "kdsam", folder / "images",
        {"kind": "sam", "path": write_sam(folder), "options": {"stand_in": True}},
        out=folder / "run", student="promptable-resnet18",
        encoder_weights="random", training=training(steps, batch_size=4),
        promptable={"side": 256, "decoder_steps": steps, "perceptual_mode": "decoder"},
        **SHARED,
    )  # fmt: skip


JOBS = {"cmkd": cmkd, "rckd": rckd, "kdsam": kdsam}


def training(steps: int, **others: int) -> dict[str, Any]:
    """The defaults of a run, but for length and size."""
    return {"steps": steps, "validate_every": max(20, steps), **others}


def write_masks(folder: Path, count: int = 16, side: int = 256, channels: int = 1) -> None:
    """Simulated tissue as a folder of images with labels, and the same labels as answers."""
    import tifffile

    from abbe.datasets import simulated_tissue

    for name in ("images/images", "images/labels", "masks"):
        (folder / name).mkdir(parents=True)
    for number, record in enumerate(simulated_tissue(count, size=side)):
        pixels = record.image.open().read(channels=("nucleus",))[0].astype(np.float32)
        pixels = (255 * (pixels - pixels.min()) / max(np.ptp(pixels), 1)).astype(np.uint8)
        if channels == 3:
            pixels = np.stack([pixels] * 3, -1)
        assert record.label is not None
        label = record.label.read().astype(np.uint16)
        kind = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(folder / f"images/images/{number:02}.tif", pixels, photometric=kind)
        tifffile.imwrite(folder / f"images/labels/{number:02}.tif", label)
        tifffile.imwrite(folder / f"masks/{number:02}.tif", label)


def write_sam(folder: Path) -> Path:
    """A tiny SAM with random weights."""
    from safetensors.torch import save_file

    from abbe.sam import Layout, build_sam

    layout = Layout("vit", image_size=256, width=128, depth=2, heads=2, global_layers=(1,))
    tensors = build_sam(layout, seed=0).state_dict()
    path = folder / "stand_in.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


if __name__ == "__main__":
    main()
