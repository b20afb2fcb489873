"""The pre- and post-processing steps of bioimage.io packages that Abbe knows.

They follow the model description formats 0.4 and 0.5 and bioimageio.core's reading of them. All
work on one image, (C, H, W): what a package computes over a batch or a whole data set is computed
over this image.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.teachers.networks.preprocessing import sigmoid, softmax

Step = Callable[[NDArray[Any]], NDArray[Any]]
AXES = {"channel": 0, "c": 0, "y": 1, "x": 2}
EPSILON = 1e-6
"""Added to a divisor unless the package says otherwise."""


def steps(declared: Sequence[Mapping[str, Any]] | None, tensor: str, origin: str) -> Step:
    """All steps that a package declares for one tensor, as one function.

    Raises:
        InputError: naming the step or argument that is not supported.
    """
    functions = [_step(dict(step), tensor, origin) for step in declared or ()]

    def apply(values: NDArray[Any]) -> NDArray[Any]:
        for function in functions:
            values = function(values)
        return values

    return apply


def step_names(declared: Sequence[Mapping[str, Any]] | None) -> str:
    """The declared steps by name, for people."""
    return ", ".join(_name(step) for step in declared or ()) or "none"


def _name(step: Mapping[str, Any]) -> str:
    return str(step.get("id", step.get("name")))


def _step(declared: dict[str, Any], tensor: str, origin: str) -> Step:
    name = _name(declared)
    arguments = _Arguments(dict(declared.get("kwargs") or {}), f"{origin}: the step '{name}'")
    if name not in STEPS:
        raise InputError(
            f"{origin}: the processing step '{name}' of '{tensor}' is not supported; "
            f"supported are {', '.join(STEPS)}"
        )
    mode = arguments.take("mode", "per_sample", allowed=("per_sample", "fixed"))
    if mode == "fixed" and "mean" not in arguments:
        arguments.need("mean")
    arguments.take("reference_tensor", None, allowed=(None, tensor))
    step = STEPS[name](arguments)
    arguments.finish()
    return step


class _Arguments:
    """A step's arguments; what no one took is not supported and said so."""

    def __init__(self, values: dict[str, Any], origin: str) -> None:
        self._values, self.origin = values, origin

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, default: Any, allowed: tuple[Any, ...] | None = None) -> Any:
        value = self._values.pop(key, default)
        if allowed is not None and value not in allowed:
            raise InputError(f"{self.origin} has {key} {value!r}, which is not supported")
        return value

    def need(self, key: str) -> Any:
        if key not in self._values:
            raise InputError(f"{self.origin} lacks its argument '{key}'")
        return self._values.pop(key)

    def axes(self) -> tuple[int, ...]:
        """Axes to reduce: "xy" in 0.4, a list in 0.5, all where omitted; the batch is one image."""
        names = self.take("axes", None) or ("channel", "y", "x")
        return tuple(self._axis(name) for name in names if name not in ("b", "batch"))

    def along(self, *keys: str, defaults: Sequence[float | None]) -> list[NDArray[np.float32]]:
        """Values that hold for all, or one for each position of ``axis``."""
        name = self.take("axis", None)
        axis = 0 if name is None else self._axis(name)
        shape = [1, 1, 1]
        shape[axis] = -1
        values = [
            self.need(key) if default is None else self.take(key, default)
            for key, default in zip(keys, defaults, strict=True)
        ]
        return [np.asarray(value, np.float32).reshape(shape) for value in values]

    def finish(self) -> None:
        if self._values:
            raise InputError(
                f"{self.origin} has the argument '{next(iter(self._values))}', "
                "which is not supported"
            )

    def _axis(self, name: str) -> int:
        if name not in AXES:
            raise InputError(f"{self.origin} works along the axis '{name}', which is not supported")
        return AXES[name]


def _ensure_dtype(arguments: _Arguments) -> Step:
    dtype = np.dtype(arguments.need("dtype"))
    return lambda values: values.astype(dtype)


def _zero_mean_unit_variance(arguments: _Arguments) -> Step:
    if "mean" in arguments:  # 0.4 with mode: fixed
        arguments.take("axes", None)
        return _fixed_zero_mean_unit_variance(arguments)
    axes, epsilon = arguments.axes(), arguments.take("eps", EPSILON)

    def step(values: NDArray[Any]) -> NDArray[Any]:
        wide = values.astype(np.float64)
        mean, deviation = wide.mean(axes, keepdims=True), wide.std(axes, keepdims=True)
        return ((wide - mean) / (deviation + epsilon)).astype(np.float32)

    return step


def _fixed_zero_mean_unit_variance(arguments: _Arguments) -> Step:
    mean, deviation = arguments.along("mean", "std", defaults=(None, None))
    epsilon = arguments.take("eps", EPSILON)
    return lambda values: (values - mean) / (deviation + epsilon)


def _scale_linear(arguments: _Arguments) -> Step:
    if "axes" in arguments:  # 0.4: the axes that share their values; what is left has its own
        arguments.axes()
    gain, offset = arguments.along("gain", "offset", defaults=(1.0, 0.0))
    return lambda values: values * gain + offset


def _scale_range(arguments: _Arguments) -> Step:
    axes, epsilon = arguments.axes(), arguments.take("eps", EPSILON)
    percentiles = arguments.take("min_percentile", 0.0), arguments.take("max_percentile", 100.0)

    def step(values: NDArray[Any]) -> NDArray[Any]:
        low, high = np.percentile(values, percentiles, axis=axes, keepdims=True)
        return ((values - low) / (high - low + epsilon)).astype(np.float32)

    return step


def _clip(arguments: _Arguments) -> Step:
    low, high = arguments.take("min", None), arguments.take("max", None)
    if low is None and high is None:
        raise InputError(f"{arguments.origin} has neither min nor max, which is not supported")
    return lambda values: np.clip(values, low, high)


def _binarize(arguments: _Arguments) -> Step:
    (threshold,) = arguments.along("threshold", defaults=(None,))
    return lambda values: (values > threshold).astype(np.float32)


def _sigmoid(arguments: _Arguments) -> Step:
    return sigmoid


def _softmax(arguments: _Arguments) -> Step:
    arguments.take("axis", "channel", allowed=("channel", "c"))
    return softmax


STEPS: dict[str, Callable[[_Arguments], Step]] = {
    "ensure_dtype": _ensure_dtype,
    "zero_mean_unit_variance": _zero_mean_unit_variance,
    "fixed_zero_mean_unit_variance": _fixed_zero_mean_unit_variance,
    "scale_linear": _scale_linear,
    "scale_range": _scale_range,
    "clip": _clip,
    "binarize": _binarize,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
