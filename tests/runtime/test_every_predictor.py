"""Every predictor has what `Predictor` promises of it, under today's names."""

import inspect
from importlib import import_module

import pytest

from abbe.runtime.job import Predictor
from abbe.runtime.package.tasks import PACKAGE_TASKS
from abbe.runtime.predictors.classification import ClassPredictor
from abbe.runtime.predictors.instances import InstancePredictor
from abbe.runtime.predictors.prompted import PromptedPredictor
from abbe.runtime.predictors.regions import RegionPredictor


def as_pyright_sees_them(
    objects: InstancePredictor,
    areas: RegionPredictor,
    classes: ClassPredictor,
    prompted: PromptedPredictor,
) -> tuple[Predictor, ...]:
    """Types are held against the protocol here: `open_predictor` finds predictors by name."""
    return objects, areas, classes, prompted


PROMISED = {name: each for name, each in vars(Predictor).items() if not name.startswith("_")}


@pytest.mark.parametrize("task", PACKAGE_TASKS)
def test_it_has_all_of_the_protocol(task):
    module, _, function = PACKAGE_TASKS[task].predictor.partition(":")
    imported = import_module(module)
    kind = getattr(imported, getattr(imported, function).__annotations__["return"])
    assert kind in inspect.get_annotations(as_pyright_sees_them).values()
    fields = getattr(kind, "__dataclass_fields__", {})
    for name, promised in PROMISED.items():
        assert hasattr(kind, name) or name in fields, name
        if inspect.isfunction(promised):
            found, wanted = (inspect.signature(each) for each in (getattr(kind, name), promised))
            assert list(found.parameters) == list(wanted.parameters), name
