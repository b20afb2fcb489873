"""Items of benchmarks/foundation.py: KD SAM on polyps, ultrasound and skin."""

from collections.abc import Iterator
from pathlib import Path

import foundation_sets as sets
from foundation_items import SIDE, Item, Places, Sizes, answers_copied
from foundation_tables import SKIN


def polyps(places: Places, sizes: Sizes) -> Iterator[Item]:
    """MobileSAM's encoder into EfficientNet-Lite0: each video is tested once, by networks that have
    seen no frame of it, and skin by all of them.

    One training of each network a fold, from the fold's own seed and with its own draw of 20
    labels. No image chooses anything (validation_labels 0): 20 labels are all there is. A fold is
    the unit of the table's intervals, for its videos have one training in common: they cover
    videos, labels and seeds. Intervals by video are printed beside them.

    First each fold's labels tuned its teacher. The untuned one was settled when three folds of that
    were known, and tuning had brought students of ultrasound nothing.
    """
    folder = places.set("polyp-folds")
    skin = ("--name", SKIN, "--data.path", places.data / "skin_isic2017_9")
    yield Item("polyps-set", make=lambda: sets.polyp_folds(places.data, folder, sizes.thin))
    for fold in range(sets.POLYP_FOLDS)[: sizes.folds]:
        data = ("--data.path", folder, "--data.group", "sequence",
                "--data.split", sets.split_column(fold), "--data.split-seed", fold,
                "--data.labelled", sizes.labels, "--data.validation-labels", 0,
                "--seed", fold)  # fmt: skip
        common = (*kd_sam(places), *longer(sizes), *beside(places), *data, "--seeds", 1)
        out = places.out / f"polyps-{fold:02}"
        yield Item(out.name, (*common, *at_side(places), "--out", out))
        yield Item(f"polyps-skin-{fold:02}", ("evaluate", out, *skin))
        tuned = places.out / f"polyps-teacher-{fold:02}"
        yield Item(tuned.name, (*tuning(places, sizes), *data, "--out", tuned), more=True)
        out = places.out / f"polyps-tuned-{fold:02}"
        teacher = ("--teacher.path", tuned / "teacher.safetensors")
        yield Item(out.name, (*common, *teacher, "--out", out), more=True)


def ultrasound(places: Places, sizes: Sizes) -> Iterator[Item]:
    """KD SAM from MobileSAM at the student's side, with all baselines; from MobileSAM as it is; and
    from teachers that few labels have tuned, those of the student and four times as many. Then,
    for a shorter time and from MobileSAM as it is, by either term or both, and into ResNets
    (random weights: others were not at hand).
    """
    path = places.set("ultrasound")
    seeds = ("--seeds", sizes.seeds_of_promptable)
    few = ("--data.path", path, "--data.labelled", sizes.labels)
    common = (*kd_sam(places), *few, *seeds, "--student.input-channels", "grey")
    yield Item("busi-set", make=lambda: sets.ultrasound(places.data, path, sizes.thin))
    tuned: dict[int, Path] = {}
    for labels in (sizes.labels, 4 * sizes.labels):
        for seed in range(sizes.seeds_of_promptable):
            out = places.out / f"tuned-{labels}-{seed}"
            tuned.setdefault(labels, out / "teacher.safetensors")
            yield Item(
                out.name,
                (*tuning(places, sizes), "--data.path", path, "--data.labelled", labels,
                 "--seed", seed, "--out", out),
            )  # fmt: skip
    quick = ("--evidence", "quick")
    others: dict[str, tuple[object, ...]] = {
        "busi-untuned-small": (*beside(places), *at_side(places)),
        "busi-untuned": (*quick, "--teacher.path", places.mobile_sam),
        f"busi-tuned-{sizes.labels}": (*beside(places), "--teacher.path", tuned[sizes.labels]),
        f"busi-tuned-{4 * sizes.labels}": (*quick, "--teacher.path", tuned[4 * sizes.labels]),
    }
    for name, words in others.items():
        yield Item(name, (*common, *longer(sizes), *words, "--out", places.out / name))
    perceptual = ("--promptable.vgg-weights", places.weights / "vgg16_hed_relu3_3.safetensors")
    short: dict[str, tuple[object, ...]] = {
        "busi-short-mse": MSE,
        "busi-short-both": perceptual,
        "busi-short-perceptual": ("--promptable.mse", 0, *perceptual),
    }
    for encoder in ("resnet18", "resnet50"):
        random = ("--student.encoder-weights", "random")
        built = ("--student.architecture", f"promptable-{encoder}")
        short[f"busi-short-{encoder}"] = (*MSE, *built, *random)
    for name, words in short.items():
        out = places.out / name
        answers = answers_copied(places.out / "busi-untuned" / "targets.zarr", out)
        yield Item(f"{name}-answers", make=answers)
        yield Item(
            name,
            (*common, *quick, "--teacher.path", places.mobile_sam, *words,
             "--training.steps", sizes.short_embeddings, "--training.validate-every", 100,
             "--promptable.decoder-steps", sizes.short_masks, "--out", out),
        )  # fmt: skip


MSE = ("--promptable.perceptual", 0)
"""The perceptual term has shown nothing."""


def tuning(places: Places, sizes: Sizes) -> tuple[object, ...]:
    """How few labels tune MobileSAM, at the student's side."""
    return ("tune-teacher", "--teacher", places.mobile_sam, "--side", SIDE,
            "--steps", sizes.tuning, "--resume")  # fmt: skip


def at_side(places: Places) -> tuple[object, ...]:
    """MobileSAM as it comes, at the student's side."""
    return ("--teacher.path", places.mobile_sam, "--teacher.options", "side", SIDE)


def beside(places: Places) -> tuple[object, ...]:
    """What KD SAM is held against: its twin, and MobileSAM at the student's side."""
    return ("--evidence", "standard", "--promptable.baseline", places.mobile_sam)


def longer(sizes: Sizes) -> tuple[object, ...]:
    """As long as ultrasound needs: on validation images of a run of 2,000 and 400 steps, Dice by
    box was within 0.01 of its end after 600, and within 0.06 by one point.
    """
    return (*MSE, "--training.steps", sizes.embeddings,
            "--promptable.decoder-steps", sizes.masks,
            "--training.validate-every", 150)  # fmt: skip


def kd_sam(places: Places) -> tuple[object, ...]:
    """What all runs of KD SAM have in common.

    The rate is the recipe's own for such networks. At 0.001, which was tried first, twins failed
    now and then, and students seemed to gain by that.
    """
    return (
        "distill", "kdsam", "--student.architecture", "promptable-timm-tf_efficientnet_lite0",
        "--student.encoder-weights", places.lite0, "--promptable.side", SIDE,
        "--promptable.objects", 2, "--promptable.mask-step", 2,
        "--promptable.decoder-learning-rate", 0.0003, "--training.batch-size", 4,
        "--training.learning-rate", 0.0003, "--resume",
    )  # fmt: skip
