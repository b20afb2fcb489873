"""Contract 2: run a package on images of any size; tiles, seams, instances, results.

What is here is imported on first use, because the first mask is wanted soon.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abbe.runtime.package import Package, PackageDescription, read_package, write_description
    from abbe.runtime.package.engine import Engine, open_engine
    from abbe.runtime.postprocess.instances import instances_from_maps
    from abbe.runtime.predictors.instances import predictor
    from abbe.runtime.predictors.predict import predict

__all__ = [
    "Engine",
    "Package",
    "PackageDescription",
    "instances_from_maps",
    "open_engine",
    "predict",
    "predictor",
    "read_package",
    "write_description",
]

_HOME = {
    "Engine": "package.engine",
    "Package": "package.description",
    "PackageDescription": "package.description",
    "instances_from_maps": "postprocess.instances",
    "open_engine": "package.engine",
    "predict": "predictors.predict",
    "predictor": "predictors.instances",
    "read_package": "package.reading",
    "write_description": "package.description",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'abbe.runtime' has no attribute '{name}'")
    return getattr(import_module(f"abbe.runtime.{_HOME[name]}"), name)
