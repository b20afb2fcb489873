"""What a run was made from: its data set, its teacher and what that answered."""

from typing import Literal

from abbe.summary.part import Number, Part


class Data(Part):
    """The data set, counted by split, for the task."""

    name: str = ""
    """Of the data set."""
    licence: str | None = None
    """As its owner writes it."""
    simulated: bool = False
    """Whether a simulator made the images."""
    channels: list[str] = []
    """Of the images."""
    train_labelled: int | None = None
    """Training images with a label."""
    train_unlabelled: int | None = None
    """Training images without one."""
    validation: int | None = None
    """Labelled validation images."""
    test: int | None = None
    """Labelled test images; slides, where these are scored whole."""
    grouped: bool | None = None
    """Whether it is known which test images belong together (of a patient, a slide)."""
    test_groups: int | None = None
    """Groups of test images; each image is one where groups are unknown."""
    class_counts: dict[str, dict[str, int]] | None = None
    """Images by split and class."""
    image_notes: dict[str, list[str]] = {}
    """What was noted when images were read, and of which."""
    label_notes: dict[str, list[str]] = {}
    """What was noted when their labels were read, and of which."""


class Teacher(Part):
    """Where the targets came from."""

    teacher: str = ""
    """Name of the model, or of the people who drew the masks."""
    weights_sha256: str | None = None
    """Of its file of weights."""
    weights_licence: str | None = None
    """Licence of its weights."""
    training_data_licence: str | None = None
    """Licence of what it was trained on."""
    channels: list[str] = []
    """Channels that it saw."""
    normalisation: str | None = None
    """What was done to the pixels."""
    outputs: list[str] = []
    """Names of its maps."""
    prompt_mode: str | None = None
    """How a promptable teacher was prompted."""
    thresholds: dict[str, float] = {}
    """Those that it applied."""
    settings: dict[str, str] = {}
    """What else its answers depend on."""
    sees_labels: bool = False
    """Whether it was shown the true labels."""
    stand_in: bool = False
    """Whether it takes the place of a model that could not be had."""
    simulated: bool = False
    """Whether its images were simulated."""
    notes: list[str] = []
    """Remarks."""
    parts: "list[Teacher]" = []
    """Of the mean of several teachers, each of them."""

    @property
    def trained_here(self) -> str:
        """On what Abbe itself has trained it; empty where others did."""
        return "; ".join(note for note in self.notes if note.startswith("trained by Abbe"))


class Trust(Part):
    """How much the teacher's maps counted, and what that rests on (recipe cmkd)."""

    asked: float | Literal["auto"] = 1.0
    """``teacher.trust`` of the experiment."""
    outputs: dict[str, float] = {}
    """By map of the student, how much the teacher's counted: 1 in full, 0 not at all."""
    measured_on: str = ""
    """validation or training: images whose labels the teacher was held against; empty: none."""
    images: int = 0
    """How many."""
    teacher: dict[str, dict[str, Number]] = {}
    """By map and metric, what the teacher scored there; cut at one half."""
    alone: dict[str, dict[str, Number]] = {}
    """The same of the network that labels alone taught, of the first seed; with auto."""
    agreement: tuple[float, float, float] | None = None
    """Least, median and highest agreement of the teacher with that network, or with a label, on a
    training image. Its square is what the image counts."""

    @property
    def heard(self) -> bool:
        """Whether the student has learned from the teacher at all."""
        return any(self.outputs.values())


class Targets(Part):
    """The teacher's answers."""

    images: int
    """Images that have one."""
    empty: int = 0
    """Of these, how many are empty: the teacher found nothing."""
    missing: int = 0
    """Images that should have one and do not."""


OWN_DATA = "data"
"""Source of test images that are among those of the same run to train or validate on."""


class Overlap(Part):
    """What was trained before and has seen test images, or may have."""

    source: str
    """Key of the experiment file that names it, such as ``teacher.path``; or ``the run`` itself.
    ``data``: test images have copies among the run's own to train or validate on."""
    images: int | None = None
    """Test images that it was trained or validated on; None: that is not known."""
    example: str = ""
    """Id of one of them."""
