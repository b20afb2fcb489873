"""Items of benchmarks/foundation.py: KD SAM on polyps, ultrasound and skin."""

from collections.abc import Iterator

import foundation_sets as sets
from foundation_items import SIDE, Item, Places, Sizes, answers_copied
from foundation_tables import SKIN


def small_teacher(places: Places, sizes: Sizes) -> Iterator[Item]:
    """What more than one part needs, made before any of them begins."""
    del sizes
    yield Item(
        "mobilesam-set",
        make=lambda: sets.mobile_sam(places.weights, places.mobile_sam_small, SIDE),
    )


def polyps(places: Places, sizes: Sizes) -> Iterator[Item]:
    """MobileSAM's encoder into EfficientNet-Lite0: each video is tested once, by networks that have
    seen no frame of it, and skin by all of them.

    One training of each network a fold, from the fold's own seed and with its own draw of 20
    labels. No image chooses anything (validation_labels 0): 20 labels are all there is. A fold
    is the unit of the table's intervals, for its videos have one training in common: they cover
    videos, labels and seeds. Intervals by video are printed beside them. After half as many steps
    twins had not learnt enough to say anything of the student.
    """
    folder, answers = places.set("polyp-folds"), places.out / "polyp-folds.zarr"
    skin = ("--name", SKIN, "--data.path", places.data / "skin_isic2017_9")
    yield Item("polyp-folds-set", make=lambda: sets.polyp_folds(places.data, folder, sizes.thin))
    yield Item(
        "polyp-folds-teach",
        ("teach", "--out", answers, "--data.path", folder, "--teacher.kind", "sam",
         "--teacher.path", places.mobile_sam, "--teacher.options", "gives", "embedding"),
    )  # fmt: skip
    for fold in range(sets.POLYP_FOLDS)[: sizes.folds]:
        out = places.out / f"polyp-folds-{fold:02}"
        yield Item(f"{out.name}-answers", make=answers_copied(answers, out))
        yield Item(
            out.name,
            (*kd_sam(places, sizes), *beside(places), "--data.path", folder,
             "--data.group", "sequence", "--data.split", sets.split_column(fold),
             "--data.split-seed", fold, "--data.validation-labels", 0, "--seed", fold,
             "--seeds", 1, "--out", out),
        )  # fmt: skip
        yield Item(f"polyp-folds-skin-{fold:02}", ("evaluate", out, *skin))


def beside(places: Places) -> tuple[object, ...]:
    """What KD SAM is held against: its twin, and MobileSAM at the student's side."""
    return ("--evidence", "standard", "--promptable.baseline", places.mobile_sam_small)


def kd_sam(places: Places, sizes: Sizes) -> tuple[object, ...]:
    """What all runs of KD SAM have in common.

    The rate is the recipe's own for such networks. At 0.001, which was tried first, twins failed
    now and then, and students seemed to gain by that.
    """
    return (
        "distill", "kdsam", "--teacher.path", places.mobile_sam, "--data.labelled", sizes.labels,
        "--student.architecture", "promptable-timm-tf_efficientnet_lite0",
        "--student.encoder-weights", places.lite0, "--promptable.side", SIDE,
        "--promptable.vgg-weights", places.weights / "vgg16_hed_relu3_3.safetensors",
        "--promptable.objects", 2, "--promptable.mask-step", 2,
        "--promptable.decoder-steps", sizes.masks, "--promptable.decoder-learning-rate", 0.0003,
        "--training.steps", sizes.embeddings, "--training.batch-size", 4,
        "--training.learning-rate", 0.0003, "--training.validate-every", 100, "--resume",
    )  # fmt: skip


def ultrasound(places: Places, sizes: Sizes) -> Iterator[Item]:
    """KD SAM by both terms with all baselines; then students whose encoder learns from labels, too,
    of one term alone, on ResNets (random weights: others were not at hand), and of teachers that
    few labels have tuned; at last, longer.
    """
    path, first = places.set("ultrasound"), places.out / "busi-both"
    common = (*kd_sam(places, sizes), *seeds_of(sizes),
              "--data.path", path, "--student.input-channels", "grey")  # fmt: skip
    yield Item("busi-set", make=lambda: sets.ultrasound(places.data, path, sizes.thin))
    yield Item("busi-both", (*common, *beside(places), "--out", first))
    alone = ("--evidence", "quick")
    others: dict[str, tuple[object, ...]] = {
        "busi-whole": (*alone, "--promptable.train-encoder"),
        "busi-mse": (*alone, "--promptable.perceptual", 0),
        "busi-perceptual": (*alone, "--promptable.mse", 0),
        "busi-resnet18": (*alone, "--student.architecture", "promptable-resnet18",
                          "--student.encoder-weights", "random"),
        "busi-resnet50": (*alone, "--student.architecture", "promptable-resnet50",
                          "--student.encoder-weights", "random"),
    }  # fmt: skip
    for name, words in others.items():
        out = places.out / name
        yield Item(f"{name}-answers", make=answers_copied(first / "targets.zarr", out))
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
        yield Item(name, (*common, *alone, *teacher, "--out", places.out / name))
    yield from longer(places, sizes, common)


def longer(places: Places, sizes: Sizes, common: tuple[object, ...]) -> Iterator[Item]:
    """As many steps as the recipe takes at least, of the teacher that 20 labels have tuned, with
    its twin, and of the untuned one; by MSE alone, for the perceptual term had shown nothing.
    Settled before any of it was run.
    """
    long = (
        *common, "--training.steps", sizes.long_embeddings, "--promptable.perceptual", 0,
        "--promptable.decoder-steps", sizes.long_masks, "--training.validate-every", 200,
    )  # fmt: skip
    tuned = f"tuned-{sizes.labels}"
    teacher = ("--teacher.path", places.out / f"{tuned}-0" / "teacher.safetensors")
    out = places.out / f"busi-long-{tuned}"
    yield Item(out.name, (*long, *teacher, "--evidence", "standard", "--out", out))
    out = places.out / "busi-long-mse"
    answers = places.out / "busi-both" / "targets.zarr"
    yield Item(f"{out.name}-answers", make=answers_copied(answers, out))
    yield Item(out.name, (*long, "--evidence", "quick", "--out", out))


def seeds_of(sizes: Sizes) -> tuple[object, ...]:
    return ("--seeds", sizes.seeds_of_promptable)
