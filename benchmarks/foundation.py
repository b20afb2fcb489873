"""Evidence with a real foundation model: MobileSAM as teacher, and the tables of docs/results.md.

    python benchmarks/foundation.py DATA WEIGHTS OUT [--only NAME …] [--quick] [--table]

DATA holds codex_2ch/, he_nucls15/, he_tcga_glioma/, polyp_cvc/, us_busi/ and skin_isic2017_9/;
WEIGHTS mobile_sam.safetensors, tf_efficientnet_lite0_imagenet.safetensors and
vgg16_hed_relu3_3.safetensors. Every item is one call of `abbe`, in a process of its own, with one
thread; OUT/done/NAME says how many seconds it took. What is there is not run again, and what was
stopped goes on. --only takes names, or their beginnings. --quick trains for two steps on a part
of the pictures with one seed, to see whether everything runs; it compares nothing. --jobs 2 runs
two parts at once. Seconds of each item and their sum are printed at the end.

    codex-*      CMKD: teachers see nucleus and membrane, the student the nucleus
    polyp-folds-*   KD SAM, leaving out two of 24 videos at a time
    polyps-*, busi-*, skin-*   KD SAM
    tuned-*    MobileSAM tuned with few ultrasound labels
    stained-*    CMKD: H&E nuclei
    nuclei-*     CMKD: fluorescent nuclei, after a U-Net that has had all labels
    lesions-*    RCKD: which lesion an ultrasound picture shows
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import foundation_sets as sets
import foundation_tables as tables

SIDE = 256
"""Of the square that promptable students see, px."""


@dataclass(frozen=True)
class Sizes:
    """How long everything trains, on how much, and from how many seeds."""

    labels: int = 20
    """Of promptable networks."""
    thin: int = 1
    """One picture of so many is taken of what the full sets hold."""
    folds: int = sets.POLYP_FOLDS
    """Of those that leave something out, the first so many."""
    grid: int = 20
    """Points on a side that MobileSAM is asked by on CODEX."""
    unet: int = 150
    embeddings: int = 120
    masks: int = 40
    longer: tuple[int, int] = (240, 100)
    """Steps for embeddings and for masks on ultrasound, where many pictures have no label."""
    tuning: int = 120
    """Steps of two pictures that a teacher is tuned for."""
    pretraining: int = 100
    task: int = 40
    seeds: int = 5
    seeds_of_promptable: int = 3
    seeds_of_simclr: int = 3


QUICK = Sizes(
    labels=4,
    thin=6,
    folds=1,
    grid=4,
    unet=2,
    embeddings=2,
    masks=2,
    longer=(2, 2),
    tuning=2,
    pretraining=2,
    task=2,
    seeds=1,
    seeds_of_promptable=1,
    seeds_of_simclr=1,
)


@dataclass(frozen=True)
class Item:
    """A call of abbe, or what must be there before."""

    name: str
    words: tuple[object, ...] = ()
    make: Callable[[], object] | None = None


@dataclass(frozen=True)
class Places:
    """Where things lie."""

    data: Path
    weights: Path
    out: Path

    def set(self, name: str) -> Path:
        return self.out / "sets" / name

    @property
    def mobile_sam(self) -> Path:
        return self.weights / "mobile_sam.safetensors"

    @property
    def mobile_sam_small(self) -> Path:
        """The same weights in a file that shows them squares of ``SIDE`` px."""
        return self.set(f"mobilesam-{SIDE}.safetensors")

    @property
    def lite0(self) -> Path:
        return self.weights / "tf_efficientnet_lite0_imagenet.safetensors"


def codex(places: Places, sizes: Sizes) -> Iterator[Item]:
    """MobileSAM by grid and by boxes of other programs' objects, and Mesmer's own masks.

    Students that learn from boxes otherwise (several teachers, CWD, DIST) are trained alone: they
    are held against the plain one of the same seeds.
    """
    folder, stores = places.set("codex"), places.out
    data = ("--data.path", folder, "--data.channels", "nucleus", "cytoplasm", "membrane")
    yield Item("codex-set", make=lambda: sets.codex(places.data, folder, sizes.thin))
    asked: dict[str, tuple[object, ...]] = {
        "amg": ("prompts", "amg", "points_per_side", sizes.grid, "grid_minimum_iou", 0.7,
                "grid_minimum_stability", 0.8, "largest", 0.02),
        "boxes": ("prompts", "box", "prompt_file", folder / "cellpose"),
    }  # fmt: skip
    taught: dict[str, tuple[object, ...]] = {
        "mesmer": ("--teacher.kind", "masks", "--teacher.path", folder / "mesmer")
    }
    for name, options in asked.items():
        yield Item(
            f"codex-teach-{name}",
            ("teach", "--out", stores / f"codex-{name}.zarr", *data, "--teacher.kind", "sam",
             "--teacher.path", places.mobile_sam, "--teacher.input-channels", "nucleus", "membrane",
             "--teacher.options", "gives", "probability", *options),
        )  # fmt: skip
        taught[name] = ("--teacher.kind", "store", "--teacher.path", stores / f"codex-{name}.zarr")
    mesmer = stores / "codex-mesmer.zarr"
    yield Item("codex-teach-mesmer", ("teach", "--out", mesmer, *data, *taught["mesmer"]))
    alone = (*taught["boxes"], "--evidence", "quick", "--seeds", sizes.seeds)
    more = {
        "several": (*alone, "--teacher.also", mesmer),
        "boxes-cwd": (*alone, "--loss.probability", "cwd"),
        "boxes-dist": (*alone, "--loss.probability", "dist"),
    }
    for student, teachers in {"mobilenetv3": taught | more, "lite0": taught}.items():
        first: str | None = None
        for teacher, words in teachers.items():
            name = f"codex-{student}-{teacher}"
            if first is not None and teacher in taught:
                yield Item(f"{name}-baselines", make=taken_over(stores / first, stores / name))
            first = first or name
            yield Item(
                name,
                ("distill", "cmkd", *data, "--data.labelled", 3, "--evidence", "full",
                 "--seeds", sizes.seeds, *words, "--student.input-channels", "nucleus",
                 *unet(student, places, sizes), "--out", stores / name, "--resume"),
            )  # fmt: skip


def stained(places: Places, sizes: Sizes) -> Iterator[Item]:
    """H&E nuclei, by leaving out three of 15 pictures; some others are labelled, two choose.

    MobileSAM is asked by boxes around what the haematoxylin stain shows. Full evidence, one
    training of each network a fold, from the fold's own seed and with its own draw of labels: a
    fold is the unit of the table's intervals.

    Lite0's runs were fixed on 2026-11-28, when MobileNetV3's were known and none of theirs was.
    With four labels, networks that begin with ImageNet's weights have little to learn from a
    teacher that is no better than they are, so: two labels, the mean of MobileSAM's answers and
    the stain's objects as the teacher, and twice as many steps of half the size.
    """
    folder, store = places.set("stained"), places.out / "stained.zarr"
    stain = places.out / "stained-stain.zarr"
    data = ("--data.path", folder)
    yield Item("stained-set", make=lambda: sets.stained(places.data, folder, sizes.thin))
    yield Item(
        "stained-teach",
        ("teach", "--out", store, *data, "--teacher.kind", "sam",
         "--teacher.path", places.mobile_sam, "--teacher.options", "gives", "probability",
         "prompts", "box", "prompt_file", folder / "haematoxylin"),
    )  # fmt: skip
    yield Item(
        "stained-stain",
        ("teach", "--out", stain, *data, "--teacher.kind", "masks",
         "--teacher.path", folder / "haematoxylin"),
    )  # fmt: skip
    differs = {
        "mobilenetv3": ("--data.labelled", 4),
        "lite0": ("--data.labelled", 2, "--teacher.also", stain,
                  "--training.steps", 2 * sizes.unet, "--training.batch-size", 4,
                  "--training.validate-every", sizes.unet),
    }  # fmt: skip
    for student, words in differs.items():
        for fold in range(sets.STAINED_FOLDS)[: sizes.folds]:
            out = places.out / f"stained-{student}-{fold:02}"
            yield Item(
                out.name,
                ("distill", "cmkd", *data, "--data.split", sets.split_column(fold),
                 "--data.split-seed", fold, "--evidence", "full", "--seed", fold, "--seeds", 1,
                 "--teacher.kind", "store", "--teacher.path", store,
                 "--student.input-channels", "red", "green", "blue",
                 *unet(student, places, sizes), *words, "--out", out, "--resume"),
            )  # fmt: skip


def nuclei(places: Places, sizes: Sizes) -> Iterator[Item]:
    """Fluorescent nuclei of DSB-2018, trained for 600 steps of 4 crops, with 5 and 20 labels.

    The teacher is no foundation model: a ResNet18 U-Net that has learnt from all 298 labels of
    the training part. MobileSAM by boxes of Otsu's threshold was tried on ten validation images
    and is no better than the threshold (Dice 0.886 and 0.893). All 298 images are used, ten
    others choose weights and thresholds. Length, labels and seeds were fixed before any run.
    """
    data = ("--data.path", places.data / "dsb2018", "--data.where", "kind", "fluo",
            "--data.channels", "nucleus", "--student.input-channels", "nucleus")  # fmt: skip
    teacher, steps = places.out / "nuclei-teacher", 4 * sizes.unet
    yield Item(
        "nuclei-teacher",
        ("distill", "supervised", *data, "--student.architecture", "unet-resnet18",
         "--student.encoder-weights", "random", "--student.normalisation", "percentile",
         "--training.steps", steps * 2 // 3, "--training.batch-size", 8, "--training.crop", 128,
         "--training.validate-every", max(1, steps // 3), "--out", teacher, "--resume"),
    )  # fmt: skip
    first: Path | None = None
    for labels in (5, 20):
        out = places.out / f"nuclei-{labels:02}"
        if first is not None:
            yield Item(f"{out.name}-answers", make=answers_taken_over(first, out))
        first = first or out
        yield Item(
            out.name,
            ("distill", "cmkd", *data, "--data.labelled", labels, "--data.validation-labels", 10,
             "--evidence", "full", "--seeds", sizes.seeds, "--teacher.kind", "run",
             "--teacher.path", teacher, *unet("mobilenetv3", places, sizes),
             "--training.crop", 96, "--training.batch-size", 4, "--training.steps", steps,
             "--training.validate-every", max(1, steps // 4), "--out", out, "--resume"),
        )  # fmt: skip


def answers_taken_over(done: Path, new: Path) -> Callable[[], object]:
    """Give a run the teacher's answers that another has stored."""
    return lambda: shutil.copytree(done / "targets.zarr", new / "targets.zarr")


ENCODERS = {"mobilenetv3": "mobilenetv3", "lite0": "efficientnet-lite0"}
"""Of the small U-Nets: MobileNetV3 begins with random weights, Lite0 with ImageNet's."""


def unet(student: str, places: Places, sizes: Sizes) -> tuple[object, ...]:
    """A small U-Net on one of ``ENCODERS``, and how it is trained."""
    weights = places.lite0 if student == "lite0" else "random"
    return (
        "--student.architecture", f"unet-{ENCODERS[student]}", "--student.depth", 4,
        "--student.decoder-widths", 64, 32, 16, 8, "--student.encoder-weights", weights,
        "--training.steps", sizes.unet, "--training.batch-size", 8, "--training.crop", 128,
        "--training.learning-rate", 0.002, "--training.validate-every", max(1, sizes.unet // 2),
        "--training.patience", None,
    )  # fmt: skip


def taken_over(done: Path, new: Path) -> Callable[[], None]:
    """Give a run the finished baselines of another: no teacher has a part in them.

    They have the same student, images, labels and seeds, and so the same batches.
    """

    def copy() -> None:
        for name in ("supervised", "twin", "self-training"):
            for path in done.rglob(f"checkpoints/{name}-*.pt"):
                here = new / path.relative_to(done)
                here.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, here)

    return copy


def small_teacher(places: Places, sizes: Sizes) -> Iterator[Item]:
    """What more than one part needs, made before any of them begins."""
    del sizes
    yield Item(
        "mobilesam-set",
        make=lambda: sets.mobile_sam(places.weights, places.mobile_sam_small, SIDE),
    )


def polyps(places: Places, sizes: Sizes) -> Iterator[Item]:
    """MobileSAM's encoder into EfficientNet-Lite0: videos left out in turn, then one split."""
    common, compared = kd_sam(places, sizes), beside(places)
    yield from left_out_videos(places, sizes, (*common, *compared))
    common = (*common, *seeds_of(sizes))
    path = places.set("polyps")
    yield Item("polyps-set", make=lambda path=path: sets.polyps(places.data, path, sizes.thin))
    data = ("--data.path", path, "--data.group", "sequence",
            "--data.split", "fraction", "--data.fractions", 0.35, 0.15, 0.5)  # fmt: skip
    out = places.out / "polyps-both"
    yield Item("polyps-both", (*common, *data, *compared, "--out", out))
    skin = ("--name", "skin", "--data.path", places.data / "skin_isic2017_9")
    yield Item("skin-both", ("evaluate", out, *skin))
    alone = ("--evidence", "quick", "--promptable.perceptual", 0)
    out = places.out / "polyps-mse"
    yield Item("polyps-mse", (*common, *data, *alone, "--out", out))


def beside(places: Places) -> tuple[object, ...]:
    """What KD SAM is held against: its twin, and MobileSAM at the student's side."""
    return ("--evidence", "standard", "--promptable.baseline", places.mobile_sam_small)


def kd_sam(places: Places, sizes: Sizes) -> tuple[object, ...]:
    """What all runs of KD SAM have in common."""
    return (
        "distill", "kdsam", "--teacher.path", places.mobile_sam, "--data.labelled", sizes.labels,
        "--student.architecture", "promptable-timm-tf_efficientnet_lite0",
        "--student.encoder-weights", places.lite0, "--promptable.side", SIDE,
        "--promptable.vgg-weights", places.weights / "vgg16_hed_relu3_3.safetensors",
        "--promptable.objects", 2, "--promptable.mask-step", 2,
        "--promptable.decoder-steps", sizes.masks, "--promptable.decoder-learning-rate", 0.0003,
        "--training.steps", sizes.embeddings, "--training.batch-size", 4,
        "--training.learning-rate", 0.001, "--training.validate-every", 100, "--resume",
    )  # fmt: skip


def ultrasound(places: Places, sizes: Sizes) -> Iterator[Item]:
    """KD SAM by both terms with all baselines; then students without the perceptual term, on
    ResNet-18 (random weights: others were not at hand), and of teachers that few labels have tuned.
    """
    path, first = places.set("ultrasound"), places.out / "busi-both"
    common = (*kd_sam(places, sizes), *longer(sizes), *seeds_of(sizes),
              "--data.path", path, "--student.input-channels", "grey")  # fmt: skip
    yield Item("busi-set", make=lambda: sets.ultrasound(places.data, path, sizes.thin))
    yield Item("busi-both", (*common, *beside(places), "--out", first))
    common = (*common, "--evidence", "quick")
    others: dict[str, tuple[object, ...]] = {
        "busi-mse": ("--promptable.perceptual", 0),
        "busi-resnet18": ("--student.architecture", "promptable-resnet18",
                          "--student.encoder-weights", "random"),
    }  # fmt: skip
    for name, words in others.items():
        out = places.out / name
        yield Item(
            f"{name}-answers",
            make=lambda out=out: shutil.copytree(first / "targets.zarr", out / "targets.zarr"),
        )
        yield Item(name, (*common, *words, "--out", out))
    for labels in (sizes.labels, 4 * sizes.labels):
        tuned = [places.out / f"tuned-{labels}-{seed}" for seed in range(sizes.seeds_of_promptable)]
        for seed, out in enumerate(tuned):
            yield Item(
                out.name,
                ("tune-teacher", "--teacher", places.mobile_sam, "--data.path", path,
                 "--data.labelled", labels, "--side", SIDE, "--steps", sizes.tuning,
                 "--seed", seed, "--out", out, "--resume"),
            )  # fmt: skip
        teacher = ("--teacher.path", tuned[0] / "teacher.safetensors")
        name = f"busi-tuned-{labels}"
        yield Item(name, (*common, *teacher, "--out", places.out / name))


def seeds_of(sizes: Sizes) -> tuple[object, ...]:
    return ("--seeds", sizes.seeds_of_promptable)


def longer(sizes: Sizes) -> tuple[object, ...]:
    """Lengths for 245 pictures of which 225 have no label; the twin has as many steps in all."""
    embeddings, masks = sizes.longer
    return ("--training.steps", embeddings, "--promptable.decoder-steps", masks)


def left_out_videos(places: Places, sizes: Sizes, common: tuple[object, ...]) -> Iterator[Item]:
    """Each video of polyps is tested once, by networks that have seen no frame of it.

    One training of each network a fold, from the fold's own seed and with its own draw of 20
    labels. No image chooses anything (validation_labels 0): 20 labels are all there is. A fold
    is the unit of the table's intervals, for its videos have one training in common: they cover
    videos, labels and seeds. Intervals by video are printed beside them.
    """
    folder, answers = places.set("polyp-folds"), places.out / "polyp-folds.zarr"
    yield Item("polyp-folds-set", make=lambda: sets.polyp_folds(places.data, folder, sizes.thin))
    yield Item(
        "polyp-folds-teach",
        ("teach", "--out", answers, "--data.path", folder, "--teacher.kind", "sam",
         "--teacher.path", places.mobile_sam, "--teacher.options", "gives", "embedding"),
    )  # fmt: skip
    for fold in range(sets.POLYP_FOLDS)[: sizes.folds]:
        out = places.out / f"polyp-folds-{fold:02}"
        yield Item(
            f"{out.name}-answers",
            make=lambda out=out: shutil.copytree(answers, out / "targets.zarr"),
        )
        yield Item(
            out.name,
            (*common, "--data.path", folder, "--data.group", "sequence",
             "--data.split", sets.split_column(fold), "--data.split-seed", fold,
             "--data.validation-labels", 0, "--seed", fold, "--seeds", 1, "--out", out),
        )  # fmt: skip


def lesions(places: Places, sizes: Sizes) -> Iterator[Item]:
    """What the lesion is, after learning what MobileSAM finds in some sixty pictures."""
    folder, store = places.set("lesions"), places.out / "lesions.zarr"
    tiles = ("--pretrain-data.kind", "folder", "--pretrain-data.path", folder / "tiles")
    yield Item("lesions-set", make=lambda: sets.lesions(places.data, folder, sizes.thin))
    yield Item(
        "lesions-teach",
        ("teach", "--out", store, "--data.path", folder / "tiles", "--teacher.kind", "sam",
         "--teacher.path", places.mobile_sam, "--teacher.options", "gives", "probability",
         "prompts", "amg", "points_per_side", 8, "grid_minimum_iou", 0.7,
         "grid_minimum_stability", 0.8, "largest", 0.4),
    )  # fmt: skip
    common = (
        "curve", "rckd", *tiles,
        "--data.kind", "folder", "--data.path", folder,
        "--student.architecture", "unet-efficientnet-lite0",
        "--pretraining.steps", sizes.pretraining, "--pretraining.batch-size", 8,
        "--pretraining.crop", 128, "--training.steps", sizes.task, "--training.batch-size", 16,
        "--training.crop", 160, "--training.learning-rate", 0.0005,
        "--training.validate-every", sizes.task, "--fractions", 0.06, "--resume",
    )  # fmt: skip
    taught = ("--teacher.kind", "store", "--teacher.path", store, "--seeds", *range(sizes.seeds))
    alone = ("--teacher.kind", "none", "--seeds", *range(sizes.seeds_of_simclr))
    begun = {
        "imagenet": (places.lite0, ("given", "rckd"), taught),
        "random": ("random", ("random", "rckd"), taught),
        "simclr": (places.lite0, ("given", "contrastive"), alone),
        "simclr-random": ("random", ("random", "contrastive"), alone),
    }
    for name, (weights, initialisations, words) in begun.items():
        yield Item(
            f"lesions-{name}",
            (*common, *words, "--student.encoder-weights", weights,
             "--initialisations", *initialisations, "--out", places.out / f"lesions-{name}"),
        )  # fmt: skip


PARTS = (ultrasound, codex, polyps, nuclei, stained, lesions)
"""They need nothing of each other; the longest come first."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Evidence with MobileSAM as teacher.")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="parts at once, one thread each")
    parser.add_argument("--table", action="store_true", help="of what is there; run nothing")
    asked = parser.parse_args()
    places = Places(*(path.resolve() for path in (asked.data, asked.weights, asked.out)))
    sizes, done = QUICK if asked.quick else Sizes(), places.out / "done"
    parts = [list(make(places, sizes)) for make in (small_teacher, *PARTS)]
    if not asked.table:
        only = tuple(asked.only)
        wanted = [[item for item in part if item.name.startswith(only)] for part in parts]
        carry_out_all(wanted[:1], done, 1)
        carry_out_all(wanted[1:], done, asked.jobs)
    tables.print_all(places.out)
    tables.print_times([item.name for part in parts for item in part], done)


def carry_out_all(parts: Sequence[Sequence[Item]], done: Path, jobs: int) -> None:
    """Parts side by side, the items of each in turn; a failure ends the others after their item."""
    failed = threading.Event()

    def carry_out_part(items: Sequence[Item]) -> None:
        for item in items:
            if failed.is_set():
                return
            try:
                carry_out(item, done / item.name)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(jobs) as pool:
        for part in [pool.submit(carry_out_part, items) for items in parts]:
            part.result()


def carry_out(item: Item, done: Path) -> None:
    """Do what is not done yet; a failed call of abbe ends the script with its exit code."""
    if done.exists():
        return
    done.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if item.make is not None:
        item.make()
    else:
        words = [sys.executable, "-m", "abbe", *map(str, item.words), "--threads", "1"]
        print("$ abbe", *words[3:], flush=True)
        if code := subprocess.run(words, check=False).returncode:
            raise SystemExit(code)
    done.write_text(f"{time.monotonic() - started:.0f}\n")


if __name__ == "__main__":
    main()
