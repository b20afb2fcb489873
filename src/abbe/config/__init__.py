"""The experiment file: everything a run depends on, typed, and checked before any work starts."""

from abbe.config.data import Data, DataKind, PretrainData
from abbe.config.experiment import Experiment
from abbe.config.files import draft, load, parse, read_values, save
from abbe.config.length import keys_of, without_rivals
from abbe.config.methods import FineTuning, Loss, Pretraining, Promptable
from abbe.config.networks import EARLIER_INPUT, Student, Teacher
from abbe.config.training import Augmentation, Evaluation, Training

__all__ = [
    "EARLIER_INPUT",
    "Augmentation",
    "Data",
    "DataKind",
    "Evaluation",
    "Experiment",
    "FineTuning",
    "Loss",
    "PretrainData",
    "Pretraining",
    "Promptable",
    "Student",
    "Teacher",
    "Training",
    "draft",
    "keys_of",
    "load",
    "parse",
    "read_values",
    "save",
    "without_rivals",
]
