"""Items of benchmarks/foundation.py: RCKD on ultrasound."""

from collections.abc import Iterator

import foundation_sets as sets
from foundation_items import Item, Places, Sizes


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
