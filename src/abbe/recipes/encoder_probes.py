"""Linear probes of the encoders that a run of RCKD compares, each of which looks at images once."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from rich.progress import track

from abbe import config, students
from abbe.datasets import Dataset
from abbe.recipes.distill_rckd import Pretrained, Session, initial_model, take_over, task_images
from abbe.recipes.linear_probe import Features, Probed, features_of, probe
from abbe.recipes.rckd import TaskModel
from abbe.runs.normalising import scaling_of


@dataclass(frozen=True)
class FeaturesOf:
    """What one encoder sees in the labelled images of each part."""

    train: Features
    validation: Features | None
    tests: Features

    @classmethod
    def images(
        cls,
        model: TaskModel,
        experiment: config.Experiment,
        dataset: Dataset,
        device: torch.device,
    ) -> "FeaturesOf":
        """Have the encoder of a classifier look at the images, each once."""
        assert isinstance(model, students.Classifier)  # is_probed: nothing else is asked
        task, sees = experiment.fine_tuning.task, experiment.student.sees
        scaling = scaling_of(experiment.student)
        train, validation, tests = (
            task_images(dataset, dataset.split(part).records, sees, task, scaling)
            for part in ("train", "val", "test")
        )
        return cls(
            features_of(model, train, sees, device),
            features_of(model, validation, sees, device) if validation else None,
            features_of(model, tests, sees, device),
        )

    def probe(
        self, experiment: config.Experiment, dataset: Dataset, kept: Collection[str] | None = None
    ) -> Probed:
        """What a linear probe says of the test images; ``kept``: the images that have labels."""
        return probe(
            self.train if kept is None else self.train.of(kept),
            self.validation,
            self.tests.table,
            classes=len(dataset.classes),
            balanced=experiment.fine_tuning.class_weights == "balanced",
        )


def is_probed(experiment: config.Experiment) -> bool:
    """Whether linear probes are compared, too: a network that is one already needs none."""
    return (
        experiment.fine_tuning.task == "classification" and experiment.fine_tuning.trains == "all"
    )


def initialisations_of(experiment: config.Experiment) -> dict[str, str]:
    """What each model of a run begins with: 'random', 'given', or what it was pretrained by.

    The twin, which is not pretrained, begins with the weights as they were given.
    """
    bare = "random" if experiment.student.encoder_weights == "random" else "given"
    method = experiment.pretraining.method
    if method == "none":
        return {"student": bare}
    return {"student": method, **({"twin": bare} if experiment.twin else {})}


def probe_encoders(
    experiment: config.Experiment,
    dataset: Dataset,
    pretrained: Pretrained | None,
    session: Session,
) -> dict[str, Probed]:
    """Linear probes of each encoder of the run by initialisation, and of a random one as floor.

    There is none where nothing but random weights could be probed; see `is_probed`, too.
    """
    names = dict.fromkeys(("random", *reversed(initialisations_of(experiment).values())))
    if not is_probed(experiment) or len(names) == 1:
        return {}
    found: dict[str, Probed] = {}
    for name in track(names, "linear probes", disable=not session.progress):
        student = experiment.student.begun_at_random if name == "random" else experiment.student
        model = initial_model(experiment.model_copy(update={"student": student}), dataset)
        if pretrained is not None and name == experiment.pretraining.method:
            take_over(model, pretrained)
        seen = FeaturesOf.images(model, experiment, dataset, session.accelerator.device)
        found[name] = seen.probe(experiment, dataset)
    return found
