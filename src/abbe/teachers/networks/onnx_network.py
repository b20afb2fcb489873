"""An ONNX file as a function on arrays, run by ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError, MissingExtraError
from abbe.files.onnx_contents import OnnxContents, onnx_contents
from abbe.machine.threads import default_threads
from abbe.telemetry import switch_off

INPUT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
}


class OnnxNetwork:
    """A loaded ONNX model with one input.

    Attributes:
        shape: the input's dimensions; None for one that may vary.
        output_shapes: likewise of each output.
        input_type: of the input's numbers.
        parameters: how many numbers the file stores, running means of normalisations included.
    """

    def __init__(self, model: Path | bytes, origin: str, *, release: tuple[int, ...] = ()) -> None:
        """Load ``model``, a path or the file's contents.

        Args:
            model: what to load.
            origin: its name in messages.
            release: axes of the input and outputs whose fixed length is lifted. Many exporters
                write the example's size into the file although the network takes others too.

        Raises:
            InputError: the file is no ONNX model, it has several inputs, or its weights lie where
                they should not.
            MissingExtraError: a package that this needs is not installed.
        """
        switch_off()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "train", "An ONNX teacher") from error
        _refuse_files_elsewhere(model, origin)
        self.parameters = _contents(model, origin).numbers
        if release:
            model = _release(model, release)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, below
        # Left to itself it takes every core of the machine, and binds a thread to each.
        options.intra_op_num_threads = default_threads()
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common base of their own
            raise InputError(f"{origin}: ONNX Runtime cannot load it: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(item.name for item in inputs)
            raise InputError(
                f"{origin} has {len(inputs)} inputs ({names}); a teacher has one image"
            )
        if inputs[0].type not in INPUT_TYPES:
            raise InputError(f"{origin}: its input is a {inputs[0].type}, which is no image")
        self.origin = origin
        self.shape = _dimensions(inputs[0].shape)
        self.output_shapes = [_dimensions(item.shape) for item in self._session.get_outputs()]
        self.input_type = np.dtype(INPUT_TYPES[inputs[0].type])
        self._input_name = inputs[0].name

    def __call__(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Every output for one input array.

        Raises:
            InputError: the model does not take an array of this shape, or reads whole numbers of
                another range.
        """
        values = np.ascontiguousarray(self._whole(array), self.input_type)
        try:
            answers = self._session.run(None, {self._input_name: values})
        except Exception as error:
            raise InputError(
                f"{self.origin}: fails on an input of shape {array.shape}. If it needs sides that "
                f"are multiples of a number, give it as divisor=…; ONNX Runtime says: {error}"
            ) from error
        return [np.asarray(answer) for answer in answers]

    def _whole(self, array: NDArray[Any]) -> NDArray[Any]:
        """Rounded where the input is of whole numbers: a cast would cut, and wrap around."""
        if self.input_type.kind != "u":
            return array
        highest = np.iinfo(self.input_type).max
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= highest):
            raise InputError(
                f"{self.origin}: reads whole numbers from 0 to {highest} ({self.input_type}), but "
                f"the prepared pixels go from {low:.4g} to {high:.4g}"
            )
        return np.rint(array)


def files_beside(model: Path) -> list[Path]:
    """Other files in the folder of an ONNX file that hold weights of its, sorted.

    Raises:
        InputError: the file is no ONNX model, or weights lie outside its folder.
    """
    folder = model.resolve().parent
    paths = []
    for name in sorted(_names_elsewhere(model, model.name)):
        path = folder / name
        plain = name not in ("", ".", "..") and not any(mark in name for mark in "/\\:\0")
        if not plain or path.resolve().parent != folder:
            raise InputError(
                f"{model.name}: its weights are said to lie in '{name}', which is no file beside "
                "it. Save the network as one file, or with the file of weights in the same folder"
            )
        paths.append(path)
    return paths


def _refuse_files_elsewhere(model: Path | bytes, origin: str) -> None:
    if isinstance(model, Path):
        files_beside(model)
    elif _names_elsewhere(model, origin):
        raise InputError(
            f"{origin}: its weights are stored in another file, which a package does not allow"
        )


def _names_elsewhere(model: Path | bytes, origin: str) -> set[str]:
    return _contents(model, origin).outside


def _contents(model: Path | bytes, origin: str) -> OnnxContents:
    try:
        return onnx_contents(model)
    except (ValueError, OSError) as error:
        raise InputError(f"{origin}: cannot be read as an ONNX model ({error})") from error


def _dimensions(shape: list[Any]) -> tuple[int | None, ...]:
    return tuple(length if isinstance(length, int) else None for length in shape)


def _release(model: Path | bytes, axes: tuple[int, ...]) -> bytes:
    """The model with these axes of its input and outputs free, and inner shapes forgotten."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "train", "Lifting a model's fixed input size") from error
    loaded = onnx.load(model) if isinstance(model, Path) else onnx.load_from_string(model)
    for value in (*loaded.graph.input, *loaded.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        for axis in axes:
            if axis < len(dimensions):
                dimensions[axis].dim_param = f"side_{axis}"
    del loaded.graph.value_info[:]
    return loaded.SerializeToString()
