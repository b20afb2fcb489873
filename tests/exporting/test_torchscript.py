"""TorchScript of a student, for QuPath and deepImageJ."""

import zipfile
from pathlib import Path

import pytest
import torch
from small_students import Blobs
from torch import Tensor

from abbe.errors import ConfigError, PackageError
from abbe.exporting.formats.torchscript import write_torchscript

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")


def test_it_answers_as_the_student_at_any_size(tmp_path):
    write_torchscript(Blobs(), tmp_path / "blobs.pt", 1, 16)
    traced = torch.jit.load(str(tmp_path / "blobs.pt"))
    for shape in ((1, 1, 64, 48), (3, 1, 16, 160)):
        image = torch.rand(shape)
        torch.testing.assert_close(traced(image), Blobs()(image))


def test_it_tells_nothing_of_where_it_was_made(tmp_path):
    write_torchscript(Blobs(), tmp_path / "blobs.pt", 1, 16)
    with zipfile.ZipFile(tmp_path / "blobs.pt") as file:
        contents = {name: file.read(name) for name in file.namelist()}
    assert any(name.endswith(".py") for name in contents)
    assert not [name for name in contents if name.endswith(".debug_pkl")]
    here = [str(Path(__file__).parent), str(Path(torch.__file__).parent), str(tmp_path)]
    for name, content in contents.items():
        assert not any(path.encode() in content for path in here), name


class FixedSize(Blobs):
    """Depends on the size in a way that tracing takes for a constant."""

    def forward(self, image: Tensor) -> Tensor:
        return (
            super().forward(image) * image.shape[0]
            if image.shape[0] > 1
            else super().forward(image)
        )


def test_what_tracing_gets_wrong_is_found(tmp_path):
    with pytest.raises(PackageError, match="answers otherwise than the student itself"):
        write_torchscript(FixedSize(), tmp_path / "fixed.pt", 1, 16)
    assert not list(tmp_path.iterdir())


def test_files_that_exist_stay(tmp_path):
    (tmp_path / "blobs.pt").write_text("mine")
    with pytest.raises(ConfigError, match=r"--torchscript .*exists already"):
        write_torchscript(Blobs(), tmp_path / "blobs.pt", 1, 16)
    assert (tmp_path / "blobs.pt").read_text() == "mine"
