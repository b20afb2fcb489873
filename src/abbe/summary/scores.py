"""What a model of a run came to: its scores, its thresholds, its costs, its calibration."""

from abbe.summary.part import Bounds, Number, Part

OBJECTS = "objects"
"""Says of thresholds that there is none to choose: a model's objects are as it gave them."""


class Labels(Part):
    """Labelled images that a model has used."""

    training: int | None = None
    """Those that taught it; None where nobody knows, as of a teacher."""
    choosing: int = 0
    """Further ones that chose its weights or its thresholds."""
    weights: int = 0
    """Those that chose its weights: validation images."""
    thresholds: int = 0
    """Those that chose its thresholds; they may be the same, or training images."""


class Score(Part):
    """A metric of one model over the test images."""

    mean: Number = None
    """Mean over the images where it is defined, or the score of all images taken together."""
    ci95: Bounds | None = None
    """95 % interval over images or whole groups of them; see docs/statistics.md."""
    n: int | None = None
    """Images that it rests on."""
    by_seed: list[Number] = []
    """Of each seed, where there are several."""


class Gain(Score):
    """A difference of scores."""

    p: Number = None
    """Two-sided, that the difference is 0."""


class Thresholds(Part):
    """Where a model's maps are cut."""

    mask: float = 0.5
    """Least foreground probability of a mask's pixel."""
    foreground: float = 0.5
    """The same for instances."""
    boundary: float = 0.5
    """Boundary probability that parts instances."""
    chosen_on: str = "default"
    """validation or training images; default: nothing; objects: there is none to choose, for the
    model gives objects outright."""


class TypeScore(Part):
    """How one type of objects was found, over all test images together."""

    objects: int
    """True objects of the type."""
    found: int
    """Of them, those that were found with their type (IoU above 0.5)."""
    extra: int
    """Answers of the type that are no object of it."""
    pq: Number = None
    """Panoptic quality of the type."""
    f1: Number = None
    """F1 of the type."""


class Model(Part):
    """One network, or the teacher: its scores and its costs."""

    metrics: dict[str, Score] = {}
    """By key of the metric."""
    about: str = ""
    """What it is, where its name does not explain it."""
    labels: Labels | None = None
    """Labelled images that it has used."""
    parameters: int | None = None
    """Numbers in its weights."""
    macs: int | None = None
    """Multiplications and additions for one image."""
    macs_image_size: int | None = None
    """Side of that image, px."""
    encoder_parameters: int | None = None
    """Of them, those of its encoder."""
    encoder_macs: int | None = None
    """Likewise."""
    ms_per_image: Number = None
    """Median milliseconds for one image."""
    ms_per_prompt: Number = None
    """Median milliseconds for one prompt (promptable networks)."""
    confusion: list[list[int]] | None = None
    """Images by true class (rows) and answered class (columns)."""
    pixel_confusion: list[list[int]] | None = None
    """Pixels of all test images likewise (semantic segmentation)."""
    types: dict[str, TypeScore] = {}
    """Of objects, by their type, where types are told apart."""
    type_confusion: list[list[int]] | None = None
    """Objects that were found, by true type (rows) and answered type (columns), as in ``types``."""
    strength: float | None = None
    """Of a linear probe: scikit-learn's C."""


class Curve(Part):
    """A reliability curve: bins of answers by their confidence, ascending."""

    confidence: list[float] = []
    """Mean of the highest probability in the bin."""
    right: list[float] = []
    """Share of its answers that are right."""


class Calibration(Part):
    """Whether a network's probabilities mean what they say, without and with a temperature."""

    temperature: float
    """By which logits are divided; above 1, the network was too sure of itself."""
    images: int
    """Labelled validation images that it was fitted on."""
    error_before: float
    """Expected calibration error on test images as the network answers, from 0 to 1."""
    error_after: float
    """The same with the temperature."""
    before: Curve = Curve()
    """Reliability on test images as the network answers."""
    after: Curve = Curve()
    """The same with the temperature."""
