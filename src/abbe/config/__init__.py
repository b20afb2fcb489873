"""The experiment file: everything a run depends on, typed, and checked before any work starts."""

from abbe.config.data import Data, DataKind, PretrainData
from abbe.config.evidence import LEVELS, without_twin, words_without_twin
from abbe.config.experiment import Experiment
from abbe.config.files import draft, load, own_keys, parse, read_saved, read_values, save
from abbe.config.foreign import keys_within, refusal, section_of
from abbe.config.length import keys_of, without_rivals
from abbe.config.methods import FineTuning, Loss, Pretraining, Promptable
from abbe.config.networks import EARLIER_INPUT, Student, Teacher
from abbe.config.paths import FROM as PATHS_FROM
from abbe.config.paths import absolute as whole_paths
from abbe.config.paths import written as paths_in_file
from abbe.config.recipes import RECIPES, RecipeKeys, readers_of
from abbe.config.training import Augmentation, Evaluation, Training

__all__ = [
    "EARLIER_INPUT",
    "LEVELS",
    "PATHS_FROM",
    "RECIPES",
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
    "RecipeKeys",
    "Student",
    "Teacher",
    "Training",
    "draft",
    "keys_of",
    "keys_within",
    "load",
    "own_keys",
    "parse",
    "paths_in_file",
    "read_saved",
    "read_values",
    "readers_of",
    "refusal",
    "save",
    "section_of",
    "whole_paths",
    "without_rivals",
    "without_twin",
    "words_without_twin",
]
