"""What choosing the trust in a teacher does, on DSB-2018: 1, auto, and labels alone.

    python benchmarks/trust.py DATA OUT --answers STORE --weights WEIGHTS [--teachers good random …]

DATA holds dsb2018/. STORE is the answers of the ResNet50 U-Net that benchmarks/evidence.sh leaves
in OUT/labels-20/targets.zarr. WEIGHTS holds unet2d_nuclei_broad/ and mobile_sam.safetensors. Twenty
labels, a MobileNetV3 U-Net from random weights, 150 steps, three seeds; everything that counts goes
through the command line. A finished part is not done again; a teacher takes two cores about five
minutes, MobileSAM a quarter of an hour. Teachers:

    good         the ResNet50 U-Net, trained on all 298 labels
    unet2d       bioimage.io's "UNet 2D Nuclei Broad" (which was trained on DSB-2018)
    mobilesam    MobileSAM by a grid of 16 x 16 points, asked for the validation images, the 20
                 labelled ones and 40 others
    eroded       SIMULATED: good's objects, 2 px taken off all around
    half-random  SIMULATED: good for every second image, drawn blobs for the others
    random       SIMULATED: drawn blobs that have nothing to do with the image
"""

import argparse
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from abbe import cli, config, teachers
from abbe.reporting.tables import plain_cell
from abbe.runs import build
from abbe.runs.folder import open_run
from abbe.scoring import METRICS
from abbe.targets import TargetStore, TargetWriter
from abbe.tasks.scores import Scores, measured_gain, measured_score

SEEDS = 3
ASKED = 40
"""Unlabelled training images for which MobileSAM answers."""
SHOWN = ("dice", "f1@0.5", "pq")
Change = Callable[[np.ndarray, int], np.ndarray]
"""From the good teacher's maps (2, H, W) and the image's number to those of a worse one."""


def blobs(maps: np.ndarray, number: int) -> np.ndarray:
    """Foreground and boundary of blobs that cover a fifth of the image, whatever it shows."""
    noise = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=maps.shape[1:]), 6)
    return drawn(noise > np.quantile(noise, 0.8))


def eroded(maps: np.ndarray, number: int) -> np.ndarray:
    """The objects without 2 px all around."""
    return drawn(ndimage.binary_erosion(maps[0] >= 0.5, iterations=2))


def drawn(mask: np.ndarray) -> np.ndarray:
    """Foreground and inner boundary of a mask."""
    inner = ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)
    return np.stack([mask, mask & np.logical_not(inner)]).astype(np.float32)


SIMULATED: dict[str, Change] = {
    "eroded": eroded,
    "half-random": lambda maps, number: blobs(maps, number) if number % 2 else maps,
    "random": blobs,
}
TEACHERS = ("good", "unet2d", "mobilesam", *SIMULATED)


def main() -> None:
    parser = argparse.ArgumentParser(description="What choosing the trust in a teacher does.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=TEACHERS)
    parser.add_argument("--table", action="store_true", help="of what is there; train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        for name in arguments.teachers:
            carry_out(name, arguments)
    print_table(arguments.out, [name for name in TEACHERS if done(arguments.out / f"{name}-auto")])


def carry_out(name: str, arguments: argparse.Namespace) -> None:
    """The teacher's answers, a run that hears it in full, and one that chooses."""
    out, set_of = arguments.out, ["--data.path", arguments.data / "dsb2018", *SET]
    store = arguments.answers if name == "good" else answers_of(name, arguments, set_of)
    common = [
        "cmkd", *set_of, *SHORT, "--evidence", "quick", "--seeds", SEEDS, "--allow-overlap",
        "--teacher.kind", "store", "--teacher.path", store,
    ]  # fmt: skip
    full, chosen = out / f"{name}-1", out / f"{name}-auto"
    if not done(full):
        call("distill", *common, "--out", full, "--resume")
    if not done(chosen):
        take_over(out, chosen)
        call("distill", *common, "--teacher.trust", "auto", "--out", chosen, "--resume")


SET = (
    "--data.where", "kind", "fluo", "--data.channels", "nucleus", "--data.labelled", 20,
)  # fmt: skip
SHORT = (
    "--student.architecture", "unet-mobilenetv3", "--student.input-channels", "nucleus",
    "--student.encoder-weights", "random", "--training.batch-size", 8, "--training.crop", 96,
    "--training.steps", 150, "--training.learning-rate", 0.002, "--training.validate-every", 75,
    "--training.patience", None,
)  # fmt: skip


def take_over(out: Path, folder: Path) -> None:
    """Give a run the supervised networks of another: they do not depend on the teacher."""
    others = (out / f"{name}-auto" for name in TEACHERS)
    other = next((each for each in others if done(each)), None)
    if other is None:
        return
    for path in other.rglob("checkpoints/supervised-*.pt"):
        here = folder / path.relative_to(other)
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, here)


def answers_of(name: str, arguments: argparse.Namespace, set_of: list[object]) -> Path:
    """The store of another teacher than the good one."""
    store = arguments.out / f"{name}.zarr"
    if name in SIMULATED:
        simulate(arguments.answers, store, name)
    elif name == "unet2d":
        teacher = ["--teacher.kind", "bioimageio", "--teacher.input-channels", "nucleus"]
        teacher += ["--teacher.path", arguments.weights / "unet2d_nuclei_broad"]
        call("teach", "--out", store, *set_of, *teacher, "--teacher.options", "divisor", 16)
    else:
        some_of_mobilesam(store, arguments)
    return store


def simulate(good: Path, path: Path, name: str) -> None:
    """A store of the good teacher's answers made worse."""
    store = TargetStore(good)
    said = f"SIMULATED: {store.provenance.teacher}, {name}"
    with TargetWriter.open(path, replace(store.provenance, teacher=said)) as writer:
        for number, id in enumerate(sorted(store.ids)):
            entry = store.entry(id)
            if not writer.has(id, entry.image_sha256):
                maps = SIMULATED[name](store.read(id, "probability"), number)
                writer.append(id, {"probability": maps}, image_sha256=entry.image_sha256)


def some_of_mobilesam(path: Path, arguments: argparse.Namespace) -> None:
    """MobileSAM's answers for a part of the images: it takes seconds for each."""
    where, data = {"kind": "fluo"}, arguments.data / "dsb2018"
    dataset = build.build_dataset(
        config.Data(path=data, where=where, channels=("nucleus",), labelled=20)
    )
    train = dataset.split("train")
    wanted = [*dataset.split("val"), *train.labelled, *list(train.unlabelled)[:ASKED]]
    settings = config.Teacher(
        kind="sam",
        path=arguments.weights / "mobile_sam.safetensors",
        input_channels=("nucleus",),
        options={"prompts": "amg", "points_per_side": 16},
    )
    teacher = build.build_teacher(settings, dataset)
    report = teachers.teach(teacher, dataset.having(wanted), path)
    print(report.summary(), flush=True)


def done(folder: Path) -> bool:
    """Whether a run is finished."""
    if not (folder / "summary.json").is_file():
        return False
    return open_run(folder).summary.evidence.complete


def call(*words: object) -> None:
    """One command of Abbe's."""
    if cli.main([str(word) for word in words]):
        raise SystemExit(1)


def print_table(out: Path, names: list[str]) -> None:
    """Two rows a teacher: what it scores, how far it is trusted, gains over labels alone."""
    print("| teacher | its Dice | trusted | | " + " | ".join(SHOWN) + " |")
    print("|---|---:|---|---|" + "---:|" * len(SHOWN))
    for name in names:
        scores, trust = scores_of(out, name), open_run(out / f"{name}-auto").summary.trust
        if name == names[0]:
            measured = {metric: scores.measured(metric, [ALONE])[0] for metric in SHOWN}
            cells = [measured_score(each, METRICS[key].scale) for key, each in measured.items()]
            row("", "", "", ALONE, map(plain_cell, cells))
        assert trust is not None
        dice, weights = trust.teacher["foreground"]["dice"], trust.outputs.items()
        told = ", ".join(f"{output} {weight:.2f}" for output, weight in weights)
        for model in MODELS[1:]:
            gains = []
            for metric in SHOWN:
                student, alone = scores.measured(metric, [model, ALONE])
                gains.append(plain_cell(measured_gain(student.minus(alone)), sign="+"))
            first = (name, f"{dice:.2f}", told) if model == MODELS[1] else ("", "", "")
            row(*first, f"{model} − {ALONE}", gains)


ALONE = "labels alone"
MODELS = (ALONE, "trust 1", "trust auto")


def scores_of(out: Path, name: str) -> Scores:
    """Of the supervised network and of both students, all of the same seeds and test images."""
    full, chosen = open_run(out / f"{name}-1"), open_run(out / f"{name}-auto")
    sources = zip(MODELS, (chosen, full, chosen), ("supervised", "student", "student"), strict=True)
    rows = [
        {**row, "model": model}
        for model, run, own in sources
        for row in run.scores.to_pylist()
        if row["model"] == own
    ]
    return Scores(rows)  # pyright: ignore[reportArgumentType]  # as the file has them


def row(*cells: str | Iterable[str]) -> None:
    """A row of the table."""
    flat = [each for cell in cells for each in ([cell] if isinstance(cell, str) else cell)]
    print("| " + " | ".join(flat) + " |")


if __name__ == "__main__":
    main()
