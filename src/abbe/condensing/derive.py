"""Student, splits, crops and augmentation, each from what was found."""

from abbe.condensing import trial
from abbe.condensing.draft import Draft
from abbe.condensing.look import Facts
from abbe.condensing.trial import TILE, Trial
from abbe.datasets.crops import recommended_crop
from abbe.runs.schedules import rates_of

STUDENTS = ("unet-mobilenetv3", "unet-mobilenetv3-large", "unet-resnet18")
"""Students to choose from, the smallest first."""
DIAMETERS = (12.0, 40.0)
"""px across: objects of these sizes are learned best."""
SHALLOW = (10.0, 50.0)
"""px across: four halvings see all of such an object."""
FIRST_BATCH = {"cpu": 8, "gpu": 16}


def student(draft: Draft, facts: Facts, target_ms: float | None) -> None:
    """The smallest student, or the largest that meets the time that is wanted."""
    one = len(facts.channels) == 1
    why = "the images' one channel" if one else "all channels of the images"
    input_channels = draft.put("student.input_channels", list(facts.channels), why)
    depth, why = 5, "the usual; no size of objects is known"
    if facts.diameter is not None:
        shallow = SHALLOW[0] <= facts.diameter <= SHALLOW[1]
        depth = 4 if shallow else 5
        why = f"objects are {facts.diameter:.0f} px across"
        why += ": four halvings see all of one" if shallow else ""
    depth = draft.put("student.depth", depth, why)
    if draft.has("student.architecture"):
        draft.put("student.architecture", STUDENTS[0], "")
    else:
        draft.put("student.architecture", *_size(len(input_channels), depth, target_ms))
    draft.put(
        "student.encoder_weights",
        "random",
        "no weights were named; --student.encoder-weights imagenet, or a file, is usually better",
    )
    draft.put(
        "student.outputs", ["foreground", "boundary"], "the boundary map parts touching objects"
    )


def _size(channels: int, depth: int, target_ms: float | None) -> tuple[str, str]:
    """Architecture, and why: a small table of measured times."""
    times = trial.milliseconds(STUDENTS, channels, depth)
    table = ", ".join(f"{name.removeprefix('unet-')} {ms:.1f}" for name, ms in times.items())
    measured = f"ms for {TILE} px on this processor, in torch: {table}"
    if target_ms is None:
        return STUDENTS[0], f"the smallest; {measured}"
    fitting = [name for name in STUDENTS if times[name] <= target_ms]
    if fitting:
        return fitting[-1], f"the largest within --target-ms {target_ms:g}; {measured}"
    return STUDENTS[0], f"the smallest, and yet above --target-ms {target_ms:g}; {measured}"


def splits(draft: Draft, facts: Facts) -> None:
    """Shares of training, validation and test, larger for the latter where there is little."""
    of = f"{facts.units} {'groups' if facts.grouped else 'images'}"
    if facts.split and draft.said.get("data.split", "auto") == "auto":
        draft.put("data.split", "auto", "the set's own: the column split of index.csv")
        return
    draft.put("data.split", "auto", "drawn; a group is never cut in two")
    if facts.units < 10:
        shares, why = [0.5, 0.25, 0.25], f"only {of}: validation and test need some of them"
    elif facts.units < 30:
        shares, why = [0.6, 0.2, 0.2], f"{of}: few, so a fifth each to validate and to test"
    else:
        shares, why = [0.7, 0.1, 0.2], f"{of}: a tenth chooses weights, a fifth tests"
    draft.put("data.fractions", shares, why)


def training(draft: Draft, facts: Facts) -> None:
    """Crop, a first batch, learning rate, augmentation."""
    crop, why = recommended_crop(facts.diameter, facts.smallest)
    draft.put("training.crop", crop, why)
    batch = FIRST_BATCH["gpu" if facts.gpu else "cpu"]
    draft.put("training.batch_size", batch, "")  # `batch` says why, once it was tried
    architecture = draft.choices["student.architecture"].value
    rate = rates_of(architecture).maps
    draft.put("training.learning_rate", "auto", f"{rate:g} for {architecture}")
    draft.put("training.augmentation.flips", True, "images have no up and down")
    if facts.colours:
        why = "colours of stained tissue or photographs mean something: small changes"
        draft.put("training.augmentation.gamma", [0.85, 1.2], why)
        draft.put("training.augmentation.brightness", 0.1, why)
        draft.put("training.augmentation.noise", 0.02, why)
    else:
        why = "brightness differs from stain to stain and from day to day"
        draft.put("training.augmentation.gamma", [0.7, 1.4], why)
        draft.put("training.augmentation.brightness", 0.2, why)
        draft.put("training.augmentation.noise", 0.05, "few photons make noise")


def batch(draft: Draft, tried: Trial, facts: Facts) -> None:
    """The batch that fitted, and what it needs."""
    if tried.bytes is None:
        why = "tried on the GPU"
    else:
        why = f"a step keeps {tried.bytes / 2**30:.2g} GiB of {facts.memory / 2**30:.2g} free"
    if tried.batch < tried.wanted:
        why = f"{tried.wanted} did not fit; {why}"
    draft.put("training.batch_size", tried.batch, why)


def scale(facts: Facts) -> str | None:
    """What to do about objects that are very small or large on the pixel grid; None: nothing."""
    if facts.diameter is None or DIAMETERS[0] <= facts.diameter <= DIAMETERS[1]:
        return None
    aim = 20.0
    factor = aim / facts.diameter
    what = "enlarged" if factor > 1 else "shrunk"
    size = "" if facts.pixel_size is None else f", {facts.pixel_size / factor:.2g} µm a pixel"
    return (
        f"objects are {facts.diameter:.0f} px across, and {DIAMETERS[0]:.0f} to {DIAMETERS[1]:.0f} "
        f"are learned best: think of images {what} to {factor:.2g} times their side{size}"
    )
