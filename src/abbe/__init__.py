"""Abbe condenses large segmentation models into small ones, and shows what that bought.

The rooms are modules (``abbe.datasets``, ``abbe.teachers``, …); the verbs are functions here.
Everything is imported on first use, so ``import abbe`` is quick and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abbe.recipes.python import curve, distill, teach
    from abbe.runs.evaluate import evaluate_run as evaluate
    from abbe.runs.export import export_run as export
    from abbe.runtime.predictors.predict import predict
    from abbe.runtime.predictors.promptable import PromptablePredictor

__version__ = "0.1.0"

__all__ = ["PromptablePredictor", "curve", "distill", "evaluate", "export", "predict", "teach"]

_ROOMS = ("datasets", "imaging", "losses", "runtime", "scoring", "students", "targets", "teachers")
_VERBS = {
    "PromptablePredictor": ("abbe.runtime.predictors.promptable", "PromptablePredictor"),
    "curve": ("abbe.recipes.python", "curve"),
    "distill": ("abbe.recipes.python", "distill"),
    "evaluate": ("abbe.runs.evaluate", "evaluate_run"),
    "predict": ("abbe.runtime.predictors.predict", "predict"),
    "export": ("abbe.runs.export", "export_run"),
    "teach": ("abbe.recipes.python", "teach"),
}


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        module, function = _VERBS[name]
        return getattr(import_module(module), function)
    if name in _ROOMS:
        return import_module(f"abbe.{name}")
    raise AttributeError(f"module 'abbe' has no attribute '{name}'")
