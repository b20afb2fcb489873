"""Linear probes of the encoders that a run of RCKD compares, each of which looks at images once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from abbe import config, students
from abbe.datasets import Dataset
from abbe.progress import track
from abbe.recipes.linear_probe import Features, Probed, features_of, probe
from abbe.recipes.pretraining import Pretrained, take_over
from abbe.runs import build
from abbe.runs.normalising import scaling_of
from abbe.runs.session import Session
from abbe.summary import Model, Probes, RunSummary
from abbe.tasks.classes import Predictions
from abbe.tasks.classification import Classification, predictions
from abbe.tasks.task import Scored


@dataclass(frozen=True)
class FeaturesOf:
    """What one encoder sees in the labelled images of each part."""

    train: Features
    validation: Features | None
    tests: Features

    @classmethod
    def images(
        cls,
        model: nn.Module,
        experiment: config.Experiment,
        dataset: Dataset,
        device: torch.device,
    ) -> "FeaturesOf":
        """Have the encoder of a classifier look at the images, each once."""
        assert isinstance(model, students.Classifier)  # is_probed: nothing else is asked
        input_channels, scaling = experiment.student.input_channels, scaling_of(experiment.student)
        task = Classification()
        chosen = build.held_out(task.labelled(dataset.split("val")), experiment)
        train, validation, tests = (
            task.images(dataset, records, input_channels, scaling)
            for records in (dataset.split("train"), chosen, dataset.split("test"))
        )
        return cls(
            features_of(model, train, input_channels, device),
            features_of(model, validation, input_channels, device) if validation else None,
            features_of(model, tests, input_channels, device),
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

    Baselines, which are not pretrained, begin with the weights as they were given.
    """
    bare = "random" if experiment.student.encoder_weights == "random" else "given"
    method = experiment.pretraining.method
    if method == "none":
        return {"student": bare}
    baselines = (name for name in experiment.compared_with if name != "self-training")
    return {"student": method, **dict.fromkeys(baselines, bare)}


def add_probes(
    summary: RunSummary,
    scored: Scored,
    experiment: config.Experiment,
    dataset: Dataset,
    pretrained: Pretrained | None,
    session: Session,
) -> None:
    """Linear probes of each encoder of the run by initialisation, and of a random one as floor.

    There is none where nothing but random weights could be probed; see `is_probed`, too.

    Args:
        summary: gets their scores, and the gain of the student's over the baselines'.
        scored: gets their predictions.
        experiment: of the run.
        dataset: of the run.
        pretrained: what the student's encoder began with.
        session: of the run.
    """
    pair = {begun: model for model, begun in summary.initialisations.items()}
    names = dict.fromkeys(("random", *reversed(summary.initialisations.values())))
    if not is_probed(experiment) or len(names) == 1:
        return
    found: dict[str, Probed] = {}
    for name in track(names, "linear probes", shown=session.progress):
        student = experiment.student.begun_at_random if name == "random" else experiment.student
        torch.manual_seed(experiment.seed)
        model = Classification().build(student, dataset.classes)
        if pretrained is not None and name == experiment.pretraining.method:
            take_over(model, pretrained)
        seen = FeaturesOf.images(model, experiment, dataset, session.accelerator.device)
        found[name] = seen.probe(experiment, dataset)
    task, student = Classification(), experiment.student
    tests = task.images(dataset, dataset.split("test"), student.input_channels, scaling_of(student))
    answers: Mapping[str, Mapping[int | None, Predictions]] = {
        pair.get(name, name): {experiment.seed: Predictions(each.table)}
        for name, each in found.items()
    }
    answers, tests, _ = task.joined(answers, tests, dataset)
    compared = task.compare(answers, tests, [dataset[image.id].unit for image in tests])
    summary.linear_probe = Probes(
        models={
            name: Model(metrics=compared.scores[pair.get(name, name)], strength=each.strength)
            for name, each in found.items()
        },
        gain=next(iter(compared.gains.values()), {}),
    )
    named = {
        f"linear probe of {name}": answers[pair.get(name, name)][experiment.seed] for name in found
    }
    scored.predictions += predictions(dataset, named, tests)
