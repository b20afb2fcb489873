"""The steps of bioimage.io's processing: as counted by hand, and as bioimageio.core does them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from abbe.errors import InputError
from abbe.teachers.networks.bioimageio_steps import steps

CASES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "zero_mean_unit_variance": (
        {"axes": ["channel", "x", "y"]},
        lambda x: (x - x.mean()) / (x.std() + 1e-6),
    ),
    "fixed_zero_mean_unit_variance": (
        {"mean": [1, 2], "std": [3, 4], "axis": "channel"},
        lambda x: (x - np.c_[[1, 2]][..., None]) / np.c_[[3, 4]][..., None],
    ),
    "scale_linear": ({"gain": 2.0, "offset": -1.0}, lambda x: 2 * x - 1),
    "scale_range": (
        {"axes": ["x", "y"], "min_percentile": 5, "max_percentile": 90},
        lambda x: np.stack(
            [
                (c - np.percentile(c, 5)) / (np.percentile(c, 90) - np.percentile(c, 5) + 1e-6)
                for c in x
            ]
        ),
    ),
    "clip": ({"min": 1.0, "max": 3.0}, lambda x: np.minimum(np.maximum(x, 1), 3)),
    "binarize": ({"threshold": 2.0}, lambda x: (x > 2).astype(float)),
    "sigmoid": ({}, expit),
    "softmax": ({"axis": "channel"}, lambda x: softmax(x, 0)),
    "ensure_dtype": ({"dtype": "uint8"}, lambda x: x.astype(np.uint8)),
}


@pytest.mark.parametrize("name", CASES)
def test_steps(name: str, rng: np.random.Generator):
    arguments, by_hand = CASES[name]
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    got = steps([{"id": name, "kwargs": arguments}], "raw", "p")(values)
    np.testing.assert_allclose(got, by_hand(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_probabilities_of_a_network_in_half_precision_are_not(name: str, rng: np.random.Generator):
    arguments, by_hand = CASES[name]
    values = rng.normal(4, 2, (2, 9, 11)).astype(np.float16)
    got = steps([{"id": name, "kwargs": arguments}], "raw", "p")(values)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, by_hand(values.astype(np.float64)), atol=1e-6)


def test_epsilon_is_the_packages(rng: np.random.Generator):
    """bioimageio.core 0.11 reads it and then uses 1e-6; the format says what is meant."""
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    declared = {
        "id": "zero_mean_unit_variance",
        "kwargs": {"axes": ["channel", "x", "y"], "eps": 1},
    }
    got = steps([declared], "raw", "p")(values)
    np.testing.assert_allclose(
        got, (values - values.mean()) / (values.std() + 1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_steps_are_bioimageio_cores(name: str, rng: np.random.Generator):
    pytest.importorskip("bioimageio.core")
    from bioimageio.core import AxisId, MemberId, Sample, Tensor, proc_ops
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec.model import v0_5
    from pydantic import TypeAdapter

    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    step = {"id": name} | ({"kwargs": CASES[name][0]} if CASES[name][0] else {})
    described = TypeAdapter(v0_5.PostprocessingDescr | v0_5.PreprocessingDescr).validate_python(
        step
    )
    member = MemberId("raw")
    sample = Sample(
        members={member: Tensor(values[None], tuple(map(AxisId, ("batch", "channel", "y", "x"))))},
        stat={},
        id="s",
    )
    operator = getattr(proc_ops, "".join(map(str.capitalize, name.split("_"))))
    process = operator.from_proc_descr(described, member)
    sample.stat = compute_measures(process.required_measures, [sample])
    process(sample)
    theirs = np.asarray(sample.members[member].data)[0]
    np.testing.assert_allclose(steps([step], "raw", "p")(values), theirs, rtol=1e-4, atol=1e-5)


def test_older_words_of_0_4(rng: np.random.Generator):
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    fixed = {"axes": "xy", "mode": "fixed", "mean": [1, 2], "std": [3, 4]}
    got = steps([{"name": "zero_mean_unit_variance", "kwargs": fixed}], "raw", "p")(values)
    by_hand = (values - np.c_[[1, 2]][..., None]) / np.c_[[3, 4]][..., None]
    np.testing.assert_allclose(got, by_hand, rtol=1e-5)
    with pytest.raises(InputError, match="mode 'per_dataset'"):
        steps([{"name": "scale_range", "kwargs": {"mode": "per_dataset"}}], "raw", "p")
