"""Training on labels alone: how a teacher U-Net of one's own is made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from torch import nn

from abbe import config, losses
from abbe.datasets import Dataset
from abbe.datasets.training.batches import Batches
from abbe.errors import InputError
from abbe.object_types import shape_maps, types_in
from abbe.recipes import unets
from abbe.recipes.recipe import Material, Plan, Recipe, Trained, require_trainable
from abbe.recipes.terms import boundary_term, supervised_term, type_term
from abbe.registry import TASKS
from abbe.runs import build
from abbe.runs.schedules import Amount, crops_of
from abbe.runs.session import Session
from abbe.tasks.task import Task
from abbe.training.stage import Metrics, Schedule, Stage


class Supervised(Recipe):
    """Labels alone; there is no teacher and no twin."""

    name = "supervised"
    evaluates_teacher = True

    def task(self, experiment: config.Experiment) -> Task:
        """Objects."""
        return TASKS["instances"]

    def require(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """The student must be there, too."""
        super().require(experiment, dataset, tiles, trust_code=trust_code)
        require_trainable(unets.build_unet(experiment), experiment)

    def check(self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None) -> None:
        """Labelled training images are needed, too."""
        super().check(experiment, dataset, tiles)
        if not len(dataset.split("train").labelled):
            raise InputError(
                f"data set '{dataset.name}' has no labelled training image, which recipe "
                "'supervised' needs: check the names in the label folder, or data.labelled"
            )

    def amounts(
        self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """The labelled training images."""
        return {"training": crops_of(dataset.split("train").labelled, experiment.training.crop)}

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Material,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """One network in one stage."""
        images = unets.read_training(experiment, dataset, session)
        images = [image for image in images if image.label is not None]
        network = unets.build_unet(experiment)
        held_out = unets.read_held_out(experiment, dataset)
        stages = supervised(
            network,
            unets.crops(experiment, images, session, labelled_share=1.0),
            build.build_schedule(experiment.training),
            **unets.common(experiment, held_out),
        )
        yield "student", Plan(network, stages).previewed(unets.preview(experiment, held_out))


def supervised(
    network: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    outputs: Sequence[str],
    weighting: Callable[[list[str]], nn.Module],
    boundary: Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"] = "off",
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str = "dice",
) -> list[Stage]:
    """One stage with BCE + Dice on every output, and foreground edges if asked for."""
    terms = [supervised_term(outputs, shape_maps(outputs))]
    if types_in(outputs):
        terms.append(type_term(outputs))
    if boundary in losses.BOUNDARY_LOSSES:
        terms.append(boundary_term(outputs, losses.BOUNDARY_LOSSES[boundary]))
    return [
        Stage(
            "supervised",
            trains=network,
            batches=batches,
            terms=tuple(terms),
            weighting=weighting,
            schedule=schedule,
            validate=validate,
            watch=watch,
        )
    ]
