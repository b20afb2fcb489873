"""Wrong maps, wrong facts, another teacher: refused, with what is wrong and what to do."""

import json

import numpy as np
import pytest
from target_helpers import SHA, provenance

from abbe.errors import StoreError
from abbe.targets import Provenance, TargetStore, TargetWriter, View

GOOD = np.full((1, 4, 4), 0.5, np.float32)


def _with(value: float) -> np.ndarray:
    bad = GOOD.copy()
    bad[0, 1, 2] = value
    return bad


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ({"probability": _with(np.nan)}, "'x', probability: values from nan to nan"),
        (
            {"probability": _with(1.01)},
            r"'x', probability: values from 0.5 to 1.01, .* in \[0, 1\]",
        ),
        ({"probability": _with(-0.01)}, "'x', probability: values from -0.01"),
        ({"probability": _with(np.inf)}, "'x', probability: values from 0.5 to inf"),
        ({"probability": np.full((1, 4, 4), 255, np.uint8)}, "uint8 numbers, expected floating"),
        ({"probability": GOOD[0]}, r"shape \(4, 4\), but a map has axes \(output, y, x\)"),
        ({"probability": GOOD[:, :0]}, r"shape \(1, 0, 4\)"),
        (
            {"probability": np.repeat(GOOD, 2, 0)},
            "2 maps, but the teacher's outputs are foreground",
        ),
        ({"logits": np.repeat(GOOD, 2, 0)}, "'x', logits: 2 maps, but the teacher's outputs"),
        ({"logits": _with(1e6)}, "'x', logits: NaN, infinity or a value above 65504"),
        ({"embedding": _with(np.nan)}, "'x', embedding: NaN"),
        ({"instances": GOOD[0]}, "'x', instances: float32 numbers, expected whole"),
        ({"instances": np.full((4, 4), -1)}, "'x', instances: a teacher's instances are 0"),
        ({"instances": np.full((4, 4), 2**31)}, "'x', instances: a teacher's instances are 0"),
        ({"masks": GOOD}, "'x', masks: unknown kind; the kinds are probability, instances"),
        ({}, "'x': no maps; an image on which nothing was found is empty=True"),
        ({"embedding": GOOD}, "'x': give shape, the height and width that the teacher saw"),
        (
            {"probability": GOOD, "instances": np.zeros((4, 5), int)},
            "'x': height and width must be the same",
        ),
    ],
)
def test_a_wrong_map_is_refused_by_name_and_the_rest_goes_on(tmp_path, maps, words):
    with TargetWriter.open(tmp_path / "t.zarr", provenance()) as writer:
        with pytest.raises(StoreError, match=words):
            writer.append("x", maps, image_sha256=SHA)
        assert not writer.has("x", SHA)
        writer.append("y", {"probability": GOOD}, image_sha256=SHA)
    assert TargetStore(tmp_path / "t.zarr").ids == ("y",)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"id": ""}, "an image's id must be a text, not ''"),
        ({"image_sha256": "abc"}, "'x': image_sha256 must be 64"),
        ({"pixel_size": 0}, "'x': pixel_size must be in µm and above 0, not 0"),
        ({"pixel_size": float("nan")}, "'x': pixel_size must be"),
        ({"shape": (4, 5)}, "'x': height and width must be the same"),
        ({"view": View(box=(0, 0, 4, 5))}, "'x': maps of 4x4 px do not fit .* 4x5 px"),
        ({"view": View(scale=2.0, box=(0, 0, 4, 4))}, "'x': maps of 4x4 px do not fit"),
    ],
)
def test_wrong_facts_are_refused(tmp_path, facts, words):
    facts = {"id": "x", "image_sha256": SHA, **facts}
    with (
        TargetWriter.open(tmp_path / "t.zarr", provenance()) as writer,
        pytest.raises(StoreError, match=words),
    ):
        writer.append(facts.pop("id"), {"probability": GOOD}, **facts)


@pytest.mark.parametrize("box", [(0, 0, 0, 4), (4, 0, 2, 4), (-1, 0, 2, 4), (0, 0, 4)])
def test_a_view_needs_a_box(box):
    with pytest.raises(StoreError, match="is not a box"):
        View(box=box)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_view_needs_a_scale(scale):
    with pytest.raises(StoreError, match="scale must be above 0"):
        View(scale=scale)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("teacher", "another"),
        ("weights_sha256", None),
        ("weights_licence", "MIT"),
        ("training_data_licence", "MIT"),
        ("channels", ("membrane", "nucleus")),
        ("normalisation", "none"),
        ("outputs", ("boundary",)),
        ("prompt_mode", "oracle_box"),
        ("thresholds", {"mask": 0.5}),
        ("settings", {"precision": "bf16"}),
        ("sees_labels", True),
        ("stand_in", True),
        ("simulated", True),
    ],
)
def test_the_store_of_another_teacher_is_refused_and_untouched(store, field, value):
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    with pytest.raises(StoreError, match=f"another teacher.*\n  {field}: .* here, .* now") as error:
        TargetWriter.open(store, provenance(**{field: value}))
    assert str(error.value).count("\n") == 1
    assert before == {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}


def test_every_difference_is_named(store):
    with pytest.raises(StoreError) as error:
        TargetWriter.open(store, provenance(teacher="another", normalisation="none"))
    assert "teacher: 'tutor' here, 'another' now" in str(error.value)
    assert "normalisation: 'percentiles 1 and 99.8' here, 'none' now" in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("teacher", ""),
        ("weights_sha256", "ABC"),
        ("channels", ()),
        ("channels", "nucleus"),
        ("outputs", ("foreground", "foreground")),
        ("outputs", ()),
        ("normalisation", None),
        ("prompt_mode", 3),
        ("thresholds", {"mask": "high"}),
        ("settings", {"precision": 16}),
        ("sees_labels", 1),
        ("notes", "one"),
    ],
)
def test_a_wrong_provenance_names_the_field(field, value):
    with pytest.raises(StoreError, match=f"provenance: '{field}' must"):
        provenance(**{field: value})


def test_provenance_goes_through_json():
    full = provenance(prompt_mode="amg", thresholds={"mask": 0.1}, stand_in=True, notes=("a", "b"))
    assert Provenance.from_json(json.loads(json.dumps(full.to_json()))) == full
    with pytest.raises(StoreError, match="unknown key colour"):
        Provenance.from_json({**full.to_json(), "colour": "red"})
    with pytest.raises(StoreError, match="missing key channels"):
        Provenance.from_json({k: v for k, v in full.to_json().items() if k != "channels"})
    with pytest.raises(StoreError, match="not a JSON object"):
        Provenance.from_json(None)


def test_of_many_settings_only_those_that_differ_are_named():
    here = provenance(settings={"gives": "probability", "precision": "fp32"})
    now = provenance(settings={"gives": "probability", "precision": "bf16", "prompts": "a.csv"})
    assert here.differences(now) == [
        "settings: {'precision': 'fp32'} here, {'precision': 'bf16', 'prompts': 'a.csv'} now"
    ]
