"""What `damaged.py` and `kills.py` share: ``abbe`` in forked processes, and a package."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import abbe.cli  # so that no process has to read it anew
import abbe.start
from abbe.runtime.package import Lineage, PackageDescription, describe_file, write_description


def fork_abbe(words: Sequence[str], log: Path, first: Callable[[], object] = lambda: None) -> int:
    """Start ``abbe WORDS`` in a process forked from this one, which has read Abbe already.

    Args:
        words: The command.
        log: File for both outputs.
        first: Called in the new process, when its outputs go to the file.

    Returns:
        The number of the process. Its exit code is 70 after a traceback, 71 if it did not start.
    """
    log.touch()
    child = os.fork()
    if child:
        return child
    code = 71
    with suppress(BaseException):
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["abbe", *words]
        try:
            first()
            code = abbe.start.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def bright_package(folder: Path, *, side: int, tile: int, halo: int) -> Path:
    """A package that calls what is bright an object: a mean over ``side`` x ``side`` px of grey."""
    folder.mkdir()
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1, "H", "W"])
        for name in ("image", "logits")
    ]
    kernel = np.full((1, 1, side, side), 20 / side**2, np.float32)
    weights = {"w": kernel, "b": np.array([-10], np.float32)}
    node = helper.make_node("Conv", ["image", "w", "b"], ["logits"], pads=[side // 2] * 4)
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph([node], "bright", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    lineage = Lineage(
        teacher="none", weights_licence="none needed", training_data_licence="none needed",
        dataset="none", dataset_licence="none needed", recipe="by hand", run="none", stand_in=True,
    )  # fmt: skip
    description = PackageDescription(
        abbe="0.1.0", name="bright", title="bright", task="segmentation", architecture="by hand",
        channels=("grey",), pixel_size=None, divisor=1, tile=tile, halo=halo,
        outputs=("foreground",), files={"onnx": describe_file(folder, "model.onnx")},
        lineage=lineage,
    )  # fmt: skip
    write_description(folder, description)
    return folder
