"""Abbe condenses large segmentation models into small ones, and shows what that bought.

The rooms are modules (``abbe.datasets``, ``abbe.teachers``, …); the verbs are functions here, named
as on the command line. Everything is imported on first use, so ``import abbe`` is quick and needs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abbe import (
        datasets,
        imaging,
        losses,
        runtime,
        scoring,
        students,
        targets,
        teachers,
    )
    from abbe.api.condensing import condense
    from abbe.api.reproducing import reproduce
    from abbe.api.running import bench, models, predict, report
    from abbe.api.training import (
        check,
        curve,
        distill,
        evaluate,
        export,
        suggest,
        teach,
    )
    from abbe.api.tuning import tune_teacher
    from abbe.runs.folder import open_run
    from abbe.runtime.package import read_package as load_package
    from abbe.runtime.predictors.promptable import PromptablePredictor

__version__ = "0.1.0"

__all__ = [
    "PromptablePredictor",
    "bench",
    "check",
    "condense",
    "curve",
    "datasets",
    "distill",
    "evaluate",
    "export",
    "imaging",
    "load_package",
    "losses",
    "models",
    "open_run",
    "predict",
    "report",
    "reproduce",
    "runtime",
    "scoring",
    "students",
    "suggest",
    "targets",
    "teach",
    "teachers",
    "tune_teacher",
]

_HOME = {
    "PromptablePredictor": "abbe.runtime.predictors.promptable:PromptablePredictor",
    "bench": "abbe.api.running:bench",
    "check": "abbe.api.training:check",
    "condense": "abbe.api.condensing:condense",
    "curve": "abbe.api.training:curve",
    "distill": "abbe.api.training:distill",
    "evaluate": "abbe.api.training:evaluate",
    "export": "abbe.api.training:export",
    "load_package": "abbe.runtime.package:read_package",
    "models": "abbe.api.running:models",
    "open_run": "abbe.runs.folder:open_run",
    "predict": "abbe.api.running:predict",
    "report": "abbe.api.running:report",
    "reproduce": "abbe.api.reproducing:reproduce",
    "suggest": "abbe.api.training:suggest",
    "teach": "abbe.api.training:teach",
    "tune_teacher": "abbe.api.tuning:tune_teacher",
}
"""Where to find what is no module itself."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'abbe' has no attribute '{name}'")
    module, _, own = _HOME.get(name, f"abbe.{name}").partition(":")
    found = import_module(module)
    globals()[name] = getattr(found, own) if own else found  # at once from now on
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
