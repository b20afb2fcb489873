"""The whole experiment: its sections, and whether they go together."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from abbe.config.data import Data, PretrainData
from abbe.config.foreign import split_foreign
from abbe.config.methods import FineTuning, Loss, Pretraining, Promptable
from abbe.config.networks import Student, Teacher
from abbe.config.recipes import RECIPES
from abbe.config.section import Section
from abbe.config.training import Evaluation, Training


def _known(recipe: str) -> str:
    if recipe not in RECIPES:
        raise ValueError(f"choose from {', '.join(sorted(RECIPES))} (it is '{recipe}')")
    return recipe


class Experiment(Section):
    """One run: data, teacher, student, loss, training and evaluation.

    A recipe reads some of these sections and keys (`abbe.config.recipes`). The others have their
    defaults here and stand in no file.
    """

    whole: ClassVar[bool] = True
    recipe: Annotated[str, AfterValidator(_known)]
    """How the student is taught."""
    title: str = ""
    """Of the report; made of student and data where empty."""
    out: Path
    """The run folder."""
    seed: int = 0
    """Of the weights that begin at random, and of the batches."""
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
            if "contrastive" in self.pretraining.method and self.pretraining.batch_size < 2:
                raise ValueError("pretraining.batch_size: a contrastive term needs 2 or more")
        if self.teacher.live and self.teacher.kind == "sam" and self.recipe != "kdsam":
            raise ValueError("teacher.live: a teacher of kind sam runs live with recipe kdsam only")
        if (self.recipe == "kdsam") != self.student.architecture.startswith("promptable-"):
            raise ValueError(
                f"student.architecture '{self.student.architecture}' does not go with recipe "
                f"'{self.recipe}': promptable students are for kdsam, and it takes no others"
            )
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

    @model_serializer(mode="wrap")
    def _own_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What the recipe reads, and nothing else."""
        own, _ = split_foreign({"recipe": self.recipe, **write(self)}, Experiment)
        return own
