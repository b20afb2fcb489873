"""One package, exported once, that several tests look at."""

from typing import NamedTuple

import pytest
from small_students import FACTS, Blobs, images, weights_of

from abbe.exporting.request import ExportRequest
from abbe.exporting.write import write_package
from abbe.runtime.package import Package


class Exported(NamedTuple):
    package: Package
    said: list[str]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    said: list[str] = []
    weights = weights_of(Blobs(), folder / "weights.safetensors")
    package = write_package(
        folder / "blobs", Blobs(), weights, FACTS, images(), ExportRequest(), said.append
    )
    return Exported(package, said)
