"""A torch network as one ONNX file, with free sizes and nothing of this machine in it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from abbe.errors import InputError
from abbe.exporting.networks.graphs import Graph
from abbe.files import atomic_path

_SIZES = ("batch", None, "height", "width")


def write_onnx(graph: Graph, path: Path) -> None:
    """Write a network by ``torch.export``, in evaluation mode.

    torch notes on every node the lines of source that it came from, with their paths on this
    machine; they are taken out.

    Raises:
        InputError: The network cannot be exported with free sizes.
    """
    import onnx

    graph.module.eval()
    try:
        with (
            _quiet(),
            torch.no_grad(),
            _out_of_place(graph.module),
            _fixed_padding(graph.module) if graph.divisible else nullcontext(),
        ):
            program = torch.onnx.export(
                graph.module,
                tuple(graph.inputs.values()),
                dynamo=True,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=tuple(dict(graph.dynamic[name]) for name in graph.inputs),
                external_data=False,
                verbose=False,
            )
    except (RuntimeError, ValueError, torch.onnx.OnnxExporterError) as error:
        raise InputError(
            f"{type(graph.module).__name__}: torch cannot export this network with free image "
            f"size ({_first_line(error)}). Distil another architecture, such as unet-mobilenetv3"
        ) from error
    assert program is not None  # dynamo=True always gives a program
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    _name_free_sizes(model.graph)
    model.producer_name, model.doc_string = "abbe", ""
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _name_free_sizes(graph: object) -> None:
    """Call the free dimensions of image-shaped tensors batch, height and width."""
    for value in (*graph.input, *graph.output):  # pyright: ignore[reportAttributeAccessIssue]
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) == len(_SIZES):
            for size, name in zip(sizes, _SIZES, strict=True):
                if name is not None and not size.HasField("dim_value"):
                    size.dim_param = name


@contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    """Let activations write no result over their input meanwhile.

    The file is the same; torch, which must first rewrite them so, is done a quarter sooner.
    """
    parts: Iterator[Any] = module.modules()
    changed = [part for part in parts if getattr(part, "inplace", None) is True]
    for part in changed:
        part.inplace = False
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True


@contextmanager
def _fixed_padding(module: nn.Module) -> Iterator[None]:
    """Let convolutions of TensorFlow's padding "same" pad by numbers meanwhile.

    What they pad depends on the sides, but not where the stride divides these. With free sides
    torch takes many minutes over the formula.
    """
    changed: list[Any] = [part for part in module.modules() if isinstance(part, Conv2dSame)]
    for part in changed:
        part.forward = partial(_padded_alike, part)
    try:
        yield
    finally:
        for part in changed:
            del part.forward


def _padded_alike(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """What it gives where the stride divides the sides: d (k − 1) + 1 − s px are padded."""
    sides: list[int] = []
    for size, stride, dilation in zip(
        convolution.kernel_size, convolution.stride, convolution.dilation, strict=True
    ):
        lacking = max(dilation * (size - 1) + 1 - stride, 0)
        sides = [lacking // 2, lacking - lacking // 2, *sides]  # the last dimension goes first
    return F.conv2d(
        F.pad(x, sides), convolution.weight, convolution.bias, convolution.stride, 0,
        convolution.dilation, convolution.groups,
    )  # fmt: skip


class _quiet:
    """Keep torch's remarks on its own internals from the user."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")
        self._logger = logging.getLogger("torch.onnx")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *raised: object) -> None:
        self._logger.setLevel(self._level)
        self._caught.__exit__(None, None, None)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__)[:300]
