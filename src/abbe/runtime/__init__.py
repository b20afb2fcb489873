"""Contract 2: run a package on images of any size; tiles, seams, instances, results.

What is here is imported on first use, because the first mask is wanted soon.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abbe.runtime.engine import Engine, open_engine
    from abbe.runtime.instances import instances_from_maps
    from abbe.runtime.package import Package, PackageDescription, read_package, write_description
    from abbe.runtime.prediction import predict

__all__ = [
    "Engine",
    "Package",
    "PackageDescription",
    "instances_from_maps",
    "open_engine",
    "predict",
    "read_package",
    "write_description",
]

_HOME = {
    "Engine": "engine",
    "Package": "package",
    "PackageDescription": "package",
    "instances_from_maps": "instances",
    "open_engine": "engine",
    "predict": "prediction",
    "read_package": "package",
    "write_description": "package",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'abbe.runtime' has no attribute '{name}'")
    return getattr(import_module(f"abbe.runtime.{_HOME[name]}"), name)
