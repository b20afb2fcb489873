"""The whole experiment: its sections, and whether they go together."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from abbe.config.data import Data, PretrainData
from abbe.config.methods import FineTuning, Loss, Pretraining, Promptable
from abbe.config.networks import Student, Teacher
from abbe.config.section import Section
from abbe.config.training import Evaluation, Training


class Experiment(Section):
    """One run: data, teacher, student, loss, training and evaluation."""

    whole: ClassVar[bool] = True
    recipe: Literal["cmkd", "imagenet", "kdsam", "rckd", "supervised"]
    title: str = ""
    out: Path
    """The run folder."""
    seed: int = 0
    twin: bool = True
    """Train the same student without distillation too, for comparison."""
    allow_failed: Annotated[int, Field(ge=0)] = 0
    """How many images may be lost (unreadable, or the teacher failed on them) before a run ends."""
    data: Data = Data(kind="given")
    teacher: Teacher = Teacher()
    student: Student
    loss: Loss = Loss()
    promptable: Promptable = Promptable()
    pretrain_data: PretrainData = PretrainData()
    pretraining: Pretraining = Pretraining()
    fine_tuning: FineTuning = FineTuning()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Experiment":
        if self.recipe == "cmkd":
            if self.teacher.kind == "none":
                raise ValueError("recipe 'cmkd' needs a teacher: give --teacher.kind and its path")
            if self.loss.probability == "off" and self.loss.boundary == "off":
                raise ValueError("recipe 'cmkd' with both loss terms off distils nothing")
        if self.recipe == "kdsam" and self.teacher.kind != "sam":
            raise ValueError("recipe 'kdsam' needs a teacher of SAM's family: --teacher.kind sam")
        if self.recipe == "rckd":
            if "rckd" in self.pretraining.method and self.teacher.kind == "none":
                raise ValueError(
                    f"recipe 'rckd' with pretraining.method '{self.pretraining.method}' needs a "
                    "teacher: give --teacher.kind and its path"
                )
            if self.teacher.live:
                raise ValueError("teacher.live: recipe 'rckd' learns from stored answers")
            if "contrastive" in self.pretraining.method and self.pretraining.batch_size < 2:
                raise ValueError("pretraining.batch_size: a contrastive term needs 2 or more")
        if self.teacher.live and self.teacher.kind == "sam" and self.recipe != "kdsam":
            raise ValueError("teacher.live: a teacher of kind sam runs live with recipe kdsam only")
        if (self.recipe == "kdsam") != self.student.architecture.startswith("promptable-"):
            raise ValueError(
                f"student.architecture '{self.student.architecture}' does not go with recipe "
                f"'{self.recipe}': promptable students are for kdsam, and it takes no others"
            )
        if self.recipe == "kdsam" and self.student.normalisation != "auto":
            raise ValueError(
                "student.normalisation: a promptable student sees pictures as SAM does; leave it "
                "out"
            )
        if self.recipe in ("imagenet", "supervised") and self.teacher.kind != "none":
            raise ValueError(f"recipe '{self.recipe}' has no teacher: remove the teacher section")
        if self.recipe == "imagenet":
            if self.data.kind != "classes":
                raise ValueError("recipe 'imagenet' reads folders of classes: data.kind classes")
            if self.student.sees != ("red", "green", "blue"):
                raise ValueError("recipe 'imagenet': student.sees is red green blue")
            if self.student.normalisation != "range":
                raise ValueError("recipe 'imagenet': student.normalisation is range")
        if self.loss.boundary == "edge_head" and "boundary" not in self.student.outputs:
            raise ValueError("loss.boundary 'edge_head' needs 'boundary' among student.outputs")
        return self
