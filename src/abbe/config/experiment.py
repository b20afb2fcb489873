"""The whole experiment: its sections, and whether they go together."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from abbe.config.data import Data, PretrainData
from abbe.config.evidence import LEVELS, Baseline, Level
from abbe.config.foreign import split_foreign
from abbe.config.methods import FineTuning, Loss, Pretraining, Promptable
from abbe.config.networks import Student, Teacher
from abbe.config.recipes import RECIPES
from abbe.config.section import Section
from abbe.config.training import Evaluation, Training
from abbe.config.values import Place
from abbe.near import meant
from abbe.registry import traits_of


def _known(recipe: str) -> str:
    if recipe not in RECIPES:
        raise ValueError(
            f"choose from {', '.join(sorted(RECIPES))} (it is '{recipe}').{meant(recipe, RECIPES)}"
        )
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
    out: Place
    """The run folder."""
    seed: int = 0
    """Of the weights that begin at random, and of the batches."""
    evidence: Level = "standard"
    """quick: the student alone, once, which proves nothing; standard: beside a supervised network
    and its twin, each from three seeds; full: self-training too, five seeds. A finished run takes
    more later: ``abbe distill RUN --evidence full --resume``."""
    seeds: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """How many, from ``seed`` upwards; auto: as ``evidence`` says."""
    baselines: tuple[Baseline, ...] | Literal["auto"] = "auto"
    """What the student is held against, from the same initial weights; auto: as ``evidence`` says.
    supervised: all of every batch is labelled; twin: the student's batches without the teacher;
    self-training: a supervised network's own answers in the teacher's place."""
    allow_failed: Annotated[int, Field(ge=0)] = 0
    """How many images may be lost (unreadable, or the teacher failed on them) before a run ends."""
    allow_overlap: bool = False
    """Go on where the teacher, or the weights to begin with, were trained on images of the test."""
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
        keys = RECIPES[self.recipe]
        problem = next(iter(keys.check(self)), None)
        if problem is not None:
            raise ValueError(problem)
        promptable = " and ".join(name for name in RECIPES if RECIPES[name].promptable)
        kind = self.teacher.kind
        if self.teacher.live and traits_of(kind).promptable and not keys.promptable:
            raise ValueError(
                f"teacher.live: a teacher of kind {kind} runs live with recipe {promptable} only"
            )
        if keys.promptable != self.student.architecture.startswith("promptable-"):
            raise ValueError(
                f"student.architecture '{self.student.architecture}' does not go with recipe "
                f"'{self.recipe}': promptable students are for {promptable}, and it takes no others"
            )
        named = () if self.baselines == "auto" else self.baselines
        if "self-training" in named and "supervised" not in named:
            raise ValueError(
                "baselines: self-training learns from what 'supervised' answers: name both"
            )
        if self.loss.boundary == "edge_head" and "boundary" not in self.student.outputs:
            raise ValueError("loss.boundary 'edge_head' needs 'boundary' among student.outputs")
        return self

    @property
    def evidence_level(self) -> str:
        """The level by name; ``named`` where seeds or baselines are; none where there are none."""
        if not RECIPES[self.recipe].reads("evidence"):
            return ""
        return self.evidence if self.seeds == self.baselines == "auto" else "named"

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of its trainings; the first one's student is handed over."""
        count = LEVELS[self.evidence].seeds if self.seeds == "auto" else self.seeds
        if not RECIPES[self.recipe].reads("seeds"):
            count = 1
        return tuple(range(self.seed, self.seed + count))

    @property
    def compared_with(self) -> tuple[Baseline, ...]:
        """What the student is held against, in the order of training."""
        wanted = LEVELS[self.evidence].baselines if self.baselines == "auto" else self.baselines
        if not RECIPES[self.recipe].reads("baselines"):
            wanted = ()
        if self.teacher.trust == "auto":  # it is trained for that anyway
            wanted = {*wanted, "supervised"}
        return tuple(name for name in LEVELS["full"].baselines if name in wanted)

    @model_serializer(mode="wrap")
    def _own_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What the recipe reads, and nothing else."""
        own, _ = split_foreign({"recipe": self.recipe, **write(self)}, Experiment)
        return own
