"""Words for the smallest run of KD SAM, and how well a network does on its test images."""

import shlex

import numpy as np
from commands import TWIN_ALONE

from abbe import datasets
from abbe.tasks.each import Here
from abbe.tasks.promptable.task import PromptedModel, score_prompted

TINY = shlex.split(
    "--student.architecture promptable-resnet18 --student.encoder-weights random "
    "--promptable.side 64 --promptable.decoder-steps 2 --promptable.objects 1 "
    "--promptable.perceptual-mode decoder --promptable.rounds 2 --training.steps 2 "
    "--training.batch-size 2 --training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--teacher.options stand_in true"
)
WITH_TWIN = [*TINY, *TWIN_ALONE]


def dice_of(network, pictures) -> float:
    """Mean Dice by box on the test images, scored here."""
    tests = list(datasets.folder(pictures).split("test").labelled)
    scores = score_prompted(
        {"it": {0: PromptedModel(network.eval(), ("red", "green", "blue"))}},
        tests,
        each=Here(False),
    )
    return float(np.mean(list(scores.values("it", "dice").values())))
