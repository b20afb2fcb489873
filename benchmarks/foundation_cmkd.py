"""Items of benchmarks/foundation.py: CMKD on tissue, H&E and fluorescent nuclei."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import foundation_sets as sets
from foundation_items import Item, Places, Sizes, answers_copied, carry_out_program
from foundation_tables import SUGGESTED


def codex(places: Places, sizes: Sizes) -> Iterator[Item]:
    """MobileSAM by grid and by boxes of other programs' objects, and Mesmer's own masks.

    Students that learn from boxes otherwise (several teachers, CWD, DIST) are trained alone: they
    are held against the plain one of the same seeds, and its baselines.

    CWD was the best of MobileNetV3's. Lite0, simulated tissue, H&E and nuclei with 5 labels have
    it, too, to see whether that holds: settled then, before any of those runs.
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
        "boxes-cwd-trust": (*alone, "--loss.probability", "cwd", "--teacher.trust", "auto"),
        "boxes-dist": (*alone, "--loss.probability", "dist"),
    }
    cwd = {"boxes-cwd": more["boxes-cwd"]}
    for student, teachers in {"mobilenetv3": taught | more, "lite0": taught | cwd}.items():
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


def tissue(places: Places, sizes: Sizes) -> Iterator[Item]:
    """Simulated tissue, drawn anew: MobileSAM by a grid, and by boxes of what a watershed finds.

    Four images are of one simulated slide, and a slide is the unit of the intervals. Settled
    before anything was run, but for the trust, which was tried when both teachers had done harm.
    """
    folder = places.set("tissue")
    data = ("--data.path", folder, "--data.group", "slide")
    yield Item("tissue-set", make=lambda: sets.tissue(folder, sizes.thin))
    asked: dict[str, tuple[object, ...]] = {
        "amg": ("prompts", "amg", "points_per_side", sizes.grid, "grid_minimum_iou", 0.7,
                "grid_minimum_stability", 0.8, "largest", 0.1),
        "boxes": ("prompts", "box", "prompt_file", folder / "watershed"),
    }  # fmt: skip
    for name, options in asked.items():
        yield Item(
            f"tissue-teach-{name}",
            ("teach", "--out", places.out / f"tissue-{name}.zarr", *data, "--teacher.kind", "sam",
             "--teacher.path", places.mobile_sam, "--teacher.input-channels", "nucleus", "membrane",
             "--teacher.options", "gives", "probability", *options),
        )  # fmt: skip

    def distilled(name: str, teacher: str, *words: object) -> Item:
        return Item(
            name,
            ("distill", "cmkd", *data, "--data.labelled", 3, "--seeds", sizes.seeds,
             "--teacher.kind", "store", "--teacher.path", places.out / f"tissue-{teacher}.zarr",
             "--student.input-channels", "nucleus", *unet("mobilenetv3", places, sizes),
             *words, "--out", places.out / name, "--resume"),
        )  # fmt: skip

    boxes, grid = places.out / "tissue-boxes", places.out / "tissue-amg"
    yield distilled(boxes.name, "boxes", "--evidence", "full")
    cwd = ("--evidence", "quick", "--loss.probability", "cwd")
    yield distilled("tissue-boxes-cwd", "boxes", *cwd)
    yield Item("tissue-amg-baselines", make=taken_over(boxes, grid))
    yield distilled(grid.name, "amg", "--evidence", "full")
    for teacher in asked:
        auto = ("--evidence", "quick", "--teacher.trust", "auto")
        yield distilled(f"tissue-{teacher}-trust", teacher, *auto)


def stained(places: Places, sizes: Sizes) -> Iterator[Item]:
    """H&E nuclei, by leaving out three of 15 pictures; some others are labelled, two choose.

    MobileSAM is asked by boxes around what the haematoxylin stain shows. Full evidence, one
    training of each network a fold, from the fold's own seed and with its own draw of labels: a
    fold is the unit of the table's intervals.

    Lite0's runs (``--more``) were fixed on 2026-11-28, when MobileNetV3's were known and none of
    theirs was. With four labels, networks that begin with ImageNet's weights have little to learn
    from a teacher that is no better than they are, so: two labels, the mean of MobileSAM's answers
    and the stain's objects as the teacher, and twice as many steps of half the size. CWD and trust
    by itself followed when these had lost objects.
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
        more=True,
    )  # fmt: skip
    four = ("mobilenetv3", "--data.labelled", 4)
    two = ("lite0", "--data.labelled", 2, "--teacher.also", stain,
           "--training.steps", 2 * sizes.unet, "--training.batch-size", 4,
           "--training.validate-every", sizes.unet)  # fmt: skip
    cwd = ("--loss.probability", "cwd", "--evidence", "quick")
    differs = {
        "mobilenetv3": four,
        "lite0": two,
        "cwd": (*four, *cwd),
        "lite0-cwd": (*two, *cwd),
        "lite0-trust": (*two, "--teacher.trust", "auto", "--evidence", "quick"),
    }
    for name, (student, *words) in differs.items():
        for fold in range(sets.STAINED_FOLDS)[: sizes.folds]:
            out = places.out / f"stained-{name}-{fold:02}"
            yield Item(
                out.name,
                ("distill", "cmkd", *data, "--data.split", sets.split_column(fold),
                 "--data.split-seed", fold, "--evidence", "full", "--seed", fold, "--seeds", 1,
                 "--teacher.kind", "store", "--teacher.path", store,
                 "--student.input-channels", "red", "green", "blue",
                 *unet(str(student), places, sizes), *words, "--out", out, "--resume"),
                more=name != "mobilenetv3",
            )  # fmt: skip


def nuclei(places: Places, sizes: Sizes) -> Iterator[Item]:
    """Fluorescent nuclei of DSB-2018, trained for 600 steps of 4 crops, with 2, 5 and 20 labels.

    The teacher is no foundation model: a ResNet18 U-Net that has learnt from all 298 labels of
    the training part. MobileSAM by boxes of Otsu's threshold was tried on ten validation images
    and is no better than the threshold (Dice 0.886 and 0.893). All 298 images are used, ten
    others choose weights and thresholds. Length, labels and seeds were fixed before any run.

    Two labels, and two that choose, were settled when those had shown that five come to within
    0.004 of the teacher, and before any run with two. Each of these runs has one seed and its
    own draw of both.
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
    first = places.out / "nuclei-05"
    five = ("--data.labelled", 5, "--data.validation-labels", 10, "--seeds", sizes.seeds)
    runs = {
        "05": five,
        "05-cwd": (*five, "--loss.probability", "cwd", "--evidence", "quick"),
        "20": (*five, "--data.labelled", 20),
    }
    for draw in range(sizes.seeds):
        two = ("--data.labelled", 2, "--data.validation-labels", 2)
        runs[f"02-{draw}"] = (*two, "--data.split-seed", draw, "--seed", draw, "--seeds", 1)
    for name, words in runs.items():
        out = places.out / f"nuclei-{name}"
        more = name not in ("05", "20")
        if out != first:
            answers = answers_copied(first / "targets.zarr", out)
            yield Item(f"{out.name}-answers", make=answers, more=more)
        yield Item(
            out.name,
            ("distill", "cmkd", *data, "--evidence", "full", "--teacher.kind", "run",
             "--teacher.path", teacher, *unet("mobilenetv3", places, sizes),
             "--training.crop", 96, "--training.batch-size", 4, "--training.steps", steps,
             "--training.validate-every", max(1, steps // 4), *words, "--out", out, "--resume"),
            more=more,
        )  # fmt: skip
    words = (Path(__file__).with_name("suggest.py"), places.out / "nuclei-20",
             places.data / "dsb2018", places.out / SUGGESTED,
             "--seeds", sizes.seeds, "--steps", sizes.unet)  # fmt: skip
    yield Item(SUGGESTED, make=lambda: carry_out_program((sys.executable, *words)))


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
