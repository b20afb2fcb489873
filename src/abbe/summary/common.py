"""What the summaries of runs and of curves share, and how they are written."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from abbe.files import write_json
from abbe.summary.course import Stage
from abbe.summary.part import Part
from abbe.summary.sources import Data, Overlap, Targets, Teacher

FORMAT = 2
"""Of the files that are written. 1: those of versions that did not say, and were not checked."""
FILE = "summary.json"
TITLES = {
    "instances": "instance segmentation",
    "semantic": "semantic segmentation",
    "classification": "classification",
    "promptable": "promptable segmentation",
    "photographs": "classification of photographs",
}
"""Tasks for people, where a file does not say it."""


class Summary(Part):
    """What the summaries of runs and of curves share."""

    format: int = FORMAT
    """Version of this file's form."""
    abbe: str = ""
    """Version of Abbe that wrote it."""
    recipe: str = ""
    """How the student was taught."""
    title: str = ""
    """For people."""
    task: str = ""
    """What the student is for: instances, semantic, classification, promptable."""
    task_title: str = ""
    """The task in words."""
    classes: list[str] = []
    """Names of the classes by number; of pixels, 0 is the background."""
    data: Data = Data()
    """The data set."""
    student_channels: list[str] = []
    """Channels that the student reads."""
    encoder_weights: str = ""
    """What the student's encoder began with: random, imagenet or a file."""
    teacher: Teacher | None = None
    """Where targets came from; None without a teacher."""
    teacher_channels: list[str] = []
    """Channels that the teacher reads."""
    teacher_saw_labels: bool = False
    """Whether the teacher of the student was shown true labels, as with ``oracle_box`` prompts."""
    targets: Targets | None = None
    """The teacher's answers; None where none are stored."""
    overlaps: list[Overlap] = []
    """What was trained before and has seen test images, as was allowed, or may have."""
    lost: list[str] = []
    """Images that could not be used, as was allowed."""
    left_out: list[str] = []
    """Of these, those that could not be read, and slides without a tile."""
    metric_names: dict[str, str] = {}
    """Full names of the metrics, the most important first."""
    schedule: dict[str, Stage] = {}
    """By stage, how long and how fast it learned."""
    smallest_gain: float = 0.0
    """A smaller difference of scores in [0, 1] is called none that matters."""
    warnings: list[str] = []
    """What a reader should doubt that no figure of this file says."""

    @property
    def is_claim(self) -> bool:
        """Whether a difference may be claimed: that of a single seed may be luck."""
        return True

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.task and not self.task_title:
            self.task_title = TITLES.get(self.task, self.task)
        if self.teacher is not None and self.teacher.sees_labels:
            self.teacher_saw_labels = True
        return self

    def write(self, folder: Path) -> None:
        """Write ``summary.json`` into a folder, atomically: what was given, and the format."""
        values = {"format": FORMAT} | self.model_dump(mode="json", exclude_unset=True)
        write_json(folder / FILE, values)
