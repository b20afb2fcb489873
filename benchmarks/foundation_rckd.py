"""Items of benchmarks/foundation.py: RCKD on ultrasound and H&E."""

from collections.abc import Iterator

import foundation_sets as sets
from foundation_items import Item, Places, Sizes


def begun(places: Places) -> dict[str, tuple[object, str]]:
    """Weights that encoders begin with, and how curves call those that nothing has pretrained."""
    return {"imagenet": (places.lite0, "given"), "random": ("random", "random")}


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
        "--teacher.kind", "store", "--teacher.path", store,
        "--student.architecture", "unet-efficientnet-lite0",
        "--pretraining.steps", sizes.pretraining, "--pretraining.batch-size", 8,
        "--pretraining.crop", 128, "--training.steps", sizes.task, "--training.batch-size", 16,
        "--training.crop", 160, "--training.learning-rate", 0.0005,
        "--training.validate-every", sizes.task, "--fractions", 0.06,
        "--seeds", *range(sizes.seeds), "--resume",
    )  # fmt: skip
    for name, (weights, plain) in begun(places).items():
        out = places.out / f"lesions-{name}"
        yield Item(
            out.name,
            (*common, "--student.encoder-weights", weights,
             "--initialisations", plain, "contrastive", "rckd", "--out", out),
        )  # fmt: skip


def regions(places: Places, sizes: Sizes) -> Iterator[Item]:
    """Which type the nuclei are of, pixel by pixel, after learning what MobileSAM finds in gliomas.

    Folds and MobileSAM's answers are those of CMKD on H&E, and so are steps and rate; four
    pictures have labels. An encoder is pretrained anew in each fold. All of this was fixed before
    any run.
    """
    stained, folder = places.set("stained"), places.set("regions")
    yield Item("regions-set", make=lambda: sets.regions(places.data, stained, folder))
    for name, (weights, plain) in begun(places).items():
        for fold in range(sets.STAINED_FOLDS)[: sizes.folds]:
            out = places.out / f"regions-{name}-{fold:02}"
            yield Item(
                out.name,
                ("curve", "rckd", "--pretrain-data.kind", "folder",
                 "--pretrain-data.path", folder / "tiles", "--data.kind", "folder",
                 "--data.path", folder, "--data.types", "types", "--data.classes", "one", "two",
                 "--data.split", sets.split_column(fold), "--fine-tuning.task", "segmentation",
                 "--teacher.kind", "store", "--teacher.path", places.out / "stained.zarr",
                 "--pretraining.steps", sizes.pretraining, "--pretraining.batch-size", 8,
                 "--pretraining.crop", 128, "--student.architecture", "unet-efficientnet-lite0",
                 "--student.encoder-weights", weights, "--training.steps", sizes.unet,
                 "--training.batch-size", 8, "--training.crop", 128,
                 "--training.learning-rate", 0.002,
                 "--training.validate-every", max(1, sizes.unet // 2), "--fractions", 0.4,
                 "--seed", fold, "--seeds", fold, "--initialisations", plain,
                 "contrastive", "rckd", "--out", out, "--resume"),
            )  # fmt: skip
