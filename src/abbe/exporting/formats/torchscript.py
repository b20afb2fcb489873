"""TorchScript, for the programs that read nothing newer: QuPath and deepImageJ.

torch no longer develops the format. It holds pickled parts, so it lies beside a package, never in
it.
"""

import io
import warnings
from pathlib import Path

import torch
from torch import nn

from abbe.errors import PackageError
from abbe.exporting.folder import check_new_file
from abbe.files import atomic_path

CLOSE = 1e-4
"""Most difference of logits between the file and eager torch, of their largest magnitude."""
_OF_THE_WRITER = ("version", ".data/serialization_id")
"""Records that torch's writer adds by itself."""


def write_torchscript(student: nn.Module, path: Path, in_channels: int, divisor: int) -> None:
    """Write a traced student, and check it against eager torch at two other sizes.

    Args:
        student: In evaluation mode on the CPU; (B, C, H, W) normalised images to logits.
        path: The file to make, ending in .pt.
        in_channels: Channels of the image.
        divisor: Height and width are multiples of it.

    Raises:
        ConfigError: The file stands already or has another ending.
        PackageError: The traced network answers otherwise.
    """
    check_new_file(path, ".pt", "--torchscript")
    example = torch.rand(1, in_channels, 8 * divisor, 10 * divisor)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own notice that the format is old
        traced = torch.jit.trace(student.eval(), example)
        assert isinstance(traced, torch.jit.ScriptModule)
        with atomic_path(path) as temporary:
            temporary.write_bytes(_saved(traced))
            _check(student, torch.jit.load(str(temporary)), in_channels, divisor)


def _saved(traced: torch.jit.ScriptModule) -> bytes:
    """The file, without the records that say which source line made each operation.

    They are for debuggers alone, and hold the paths of whoever exports.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(traced.save_to_buffer()))
    file = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(file)
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in _OF_THE_WRITER:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return file.getvalue()


def _check(student: nn.Module, traced: nn.Module, in_channels: int, divisor: int) -> None:
    for batch, rows, columns in ((1, 8, 10), (2, 3, 16)):
        image = torch.rand(batch, in_channels, rows * divisor, columns * divisor)
        expected = student(image)
        difference = float((traced(image) - expected).abs().max() / expected.abs().max())
        if not difference <= CLOSE:
            raise PackageError(
                f"the TorchScript of this student answers otherwise than the student itself at "
                f"{rows * divisor} x {columns * divisor} px (logits differ by {difference:.1e} of "
                "their largest). Leave --torchscript out"
            )
