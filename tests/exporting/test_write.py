"""A package appears whole and proven, or not at all."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from small_students import CUTS, FACTS, Blobs, equal_but_for_times, images, number, weights_of

from abbe.errors import ConfigError, PackageError
from abbe.exporting import speed, write
from abbe.exporting.cards.model_card import model_card
from abbe.exporting.networks.eager import eager_probabilities
from abbe.exporting.networks.int8 import PRESETS, quantise
from abbe.exporting.parity import check
from abbe.exporting.request import Budget, ExportRequest
from abbe.exporting.write import write_package
from abbe.imaging import normalise, open_image, percentile_limits
from abbe.runs.export_inputs.common import kept
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import open_engine
from abbe.summary import RunSummary

pytestmark = pytest.mark.slow  # torch's exporter and nncf take seconds to load

DESCRIPTION = "package.json"


def make(tmp_path: Path, request: ExportRequest | None = None, student: Blobs | None = None):
    student = student or Blobs()
    said: list[str] = []
    weights = weights_of(student, tmp_path / "weights.safetensors")
    request = request or ExportRequest(int8="none")
    write_package(tmp_path / "out", student, weights, FACTS, images(), request, said.append)
    return said


def nothing_is_left(tmp_path: Path) -> bool:
    return [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_every_engine_answers_as_eager_does(exported, tmp_path):
    eager = eager_probabilities(Blobs())
    for sides in ((2, 64, 96), (1, 16, 16), (3, 128, 48)):
        batch = np.random.default_rng(0).random((sides[0], 1, *sides[1:]), np.float32)
        for engine in ("openvino", "onnxruntime"):
            opened = open_engine(exported.package, engine=engine, precision="fp32", cache=tmp_path)
            np.testing.assert_allclose(opened.probabilities(batch), eager(batch), atol=1e-4)


def test_the_description_tells_the_parity_the_timings_and_the_lineage(exported):
    description = exported.package.description
    assert description.parity["openvino/fp32"]["kept"] is True
    assert number(description.parity["openvino/fp32"], "max_difference") < 1e-4
    assert description.parity["openvino/fp32"]["agreement_pq"] == 1
    assert number(description.parity["onnxruntime/fp32"], "objects") > 5
    int8 = description.parity["openvino/int8"]
    assert int8["kept"] is exported.package.has("int8_xml")
    assert any(name.startswith("openvino/fp32, tile 128") for name in description.timings)
    chosen = description.engine  # which is luck: see `settings_are_timed_briefly`
    setting = f"{chosen.engine}/{chosen.precision}, tile {description.tile}, "
    assert any(name.startswith(setting) for name in description.timings)
    assert description.lineage.stand_in
    assert set(description.files) >= {"onnx", "weights", "test_image", "expected", "card"}


def test_the_test_image_gives_what_is_expected_of_it(exported, tmp_path):
    package = exported.package
    image = open_image(package.file("test_image"))
    assert image.channels == ("nucleus",)
    assert image.pixel_size == 0.5
    pixels = image.read()
    assert pixels.dtype == np.uint16
    engine = open_engine(package, precision="fp32", cache=tmp_path)
    maps = engine.probabilities(normalise(pixels, percentile_limits(pixels))[None])[0]
    expected = np.load(package.file("expected"), allow_pickle=False)
    np.testing.assert_allclose(maps, expected["probabilities"], atol=1e-4)
    np.testing.assert_array_equal(CUTS.objects(maps), expected["instances"])
    assert expected["instances"].max() > 1


def test_nothing_of_this_machine_is_in_the_files(exported):
    here = str(Path(__file__).parents[2]).encode()
    for path in exported.package.folder.iterdir():
        content = path.read_bytes()
        assert here not in content, path
        assert b"small_students" not in content, path
    graph = onnx.load(exported.package.file("onnx")).graph
    sizes = [size.dim_param or size.dim_value for size in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, "height", "width"]


def test_the_card_carries_licences_marks_scores_and_figures(exported):
    card = exported.package.file("card").read_text("utf-8")
    for line in (
        "CC-BY-NC-4.0", "unknown to us", "CC0-1.0", "simulated images", "stand-in",
        "| Dice | 0.900 [0.850, 0.950] | 0.800 |", "- a note", "| openvino/fp32 | yes |",
        "7 test images",
    ):  # fmt: skip
        assert line in card
    assert card.startswith("---\nlibrary_name: abbe\n")


def test_the_card_says_how_many_groups_and_whose_network_and_why():
    described = read_package("nuclei").description
    told = kept(RunSummary.model_validate({
        "task": "instances",
        "models": {"student": {"metrics": {"dice": {"mean": 0.9, "ci95": [0.8, 0.95]}}}},
        "data": {"test": 8, "grouped": True, "test_groups": 2},
        "evidence": {"seeds": [3, 4]},
    }))  # fmt: skip
    card = model_card(described.model_copy(update={"training": told}))
    assert "Means over 8 test images of " in card
    assert " in 2 groups (patients, slides …), with 95 % intervals over images and 2 seeds" in card
    assert "the package is the first seed's student, named before any was scored." in card
    assert "abbe predict PATH/TO/nuclei image.tif" in card  # the name alone is a shipped package's
    pretrained = told | {"data": {"test": 8, "name": "slides"}}
    lineage = described.lineage.model_copy(update={"dataset": "slides; tiles (pretraining)"})
    card = model_card(described.model_copy(update={"training": pretrained, "lineage": lineage}))
    assert "Means over 8 test images of slides," in card
    assert "| Tested on | 8 images of slides |" in card
    alone = told | {"data": {"test": 8, "grouped": False, "test_groups": None}}
    card = model_card(described.model_copy(update={"training": alone}))
    assert "groups" not in card.partition("## Scores")[2].partition("|")[0]


def test_the_card_says_what_a_hospital_asks_and_what_nobody_stated():
    described = read_package("nuclei").description
    score = {"mean": 0.9, "ci95": [0.8, 0.95], "n": 5}
    told = {
        "intended_use": "Counting, in research",
        "not_tested_on": ["frozen sections", "<b>others</b>"],
        "data_version": "2018-1", "teacher_version": "9",
        "data": {"test": 8},
        "calibration": {"student": {"foreground": {
            "temperature": 1.5, "images": 6, "error_before": 0.12, "error_after": 0.034}}},
        "subgroups": {"scanner": {"A|B": {"images": 5, "metrics": {"dice": score}},
                                  "": {"images": 3, "metrics": {}}}},
    }  # fmt: skip
    taught = described.lineage.model_copy(update={"teacher": "someone"})
    card = model_card(described.model_copy(update={"training": told, "lineage": taught}))
    for line in (
        "| Intended use | Counting, in research |",
        "| Tested on | 8 images of dsb2018 |",
        "| Not tested on | frozen sections; &lt;b&gt;others&lt;/b&gt; |",
        "| Training data | dsb2018, version 2018-1 |",
        f"digests | {described.files['training_images'].sha256} |",
        "| Teacher | someone, version 9 |",
        "| SHA-256 of the teacher's weights | not stated |",
        "| foreground | 1.5 | 6 | 0.120 | 0.034 |",
        "| scanner | images | Dice |",
        "| A\\|B | 5 | 0.900 [0.800, 0.950] |",
        "| (empty) | 3 | — |",
    ):
        assert line in card.splitlines() or line in card
    bare = described.model_copy(update={"training": {}})
    unknown = model_card(bare.model_copy(update={"files": {"onnx": described.files["onnx"]}}))
    assert unknown.count("not stated") == 4  # use, not tested on, version, list of images
    assert "## Scores by subgroup\n\nNot stated." in unknown
    assert "## Calibration\n\nNot stated." in unknown


def test_int8_is_smaller_and_close(exported, tmp_path):
    package = exported.package
    assert package.has("int8_xml"), exported.said
    eager = eager_probabilities(Blobs())
    batch = images().parity[0].pixels[None]
    rounded = open_engine(package, precision="int8", cache=tmp_path).probabilities(batch)
    difference = np.abs(rounded - eager(batch))
    assert 1e-6 < difference.mean() < 0.05  # it is another network, and a close one


def wrong_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the exporter write another student than the one that was trained."""
    exact = write._write_networks
    monkeypatch.setattr(
        write,
        "_write_networks",
        lambda builder, student, *, compact: exact(builder, Blobs(shift=-3), compact=compact),
    )


def test_an_export_that_answers_otherwise_fails_and_says_where(tmp_path, monkeypatch):
    wrong_network(monkeypatch)
    with pytest.raises(PackageError, match=r"onnxruntime/fp32.*Dice.*worst image: image-\d"):
        make(tmp_path)
    assert nothing_is_left(tmp_path)


def test_a_budget_lets_it_pass(tmp_path, monkeypatch):
    wrong_network(monkeypatch)
    make(tmp_path, ExportRequest(int8="none", budget_dice=1, budget_pq=1))
    figures = read_package(tmp_path / "out").description.parity["openvino/fp32"]
    assert number(figures, "lost_dice") > 0.01


@pytest.fixture
def bad_rounding(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Rounding that costs more than any budget."""
    from abbe.exporting.networks import openvino_files
    from abbe.exporting.networks.graphs import segmentation_graphs
    from abbe.exporting.networks.onnx_files import write_onnx

    path = tmp_path_factory.mktemp("bad") / "bad.onnx"
    write_onnx(segmentation_graphs(Blobs(shift=-9))[0], path)
    bad = openvino_files.convert(path)
    monkeypatch.setattr(check, "quantise", lambda model, batches, preset: bad)
    return bad


def test_the_next_preset_is_tried_where_one_loses_too_much(tmp_path, monkeypatch, bad_rounding):
    """A wrong network stands in for what rounding the ends makes of some networks."""
    monkeypatch.setattr(
        check, "quantise", lambda model, _, preset: model if preset.ends_exact else bad_rounding
    )
    said = make(tmp_path, ExportRequest(int8="required"))
    package = read_package(tmp_path / "out")
    figures = package.description.parity["openvino/int8"]
    assert package.has("int8_xml")
    assert figures["preset"] == "mixed, ends in fp32"
    assert abs(number(figures, "lost_dice")) <= Budget().dice
    assert sum("against eager" in line and "int8" in line for line in said) == 3


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_no_sum_of_two_products_overflows_16_bits(exported, preset):
    """Processors without VNNI add two products of 8 bits each in 16 bits, and saturate quietly."""
    from abbe.exporting.networks import openvino_files

    model = openvino_files.convert(exported.package.file("onnx"))
    batches = [pixels[None] for pixels in images().calibration]
    rounded = quantise(model, batches, preset)
    stored = [
        each.get_data()
        for each in rounded.get_ordered_ops()
        if each.get_type_name() == "Constant" and each.get_element_type().to_string() == "i8"
    ]
    assert stored
    assert all(np.abs(weights.astype(int)).max() <= 64 for weights in stored)


@pytest.mark.usefixtures("bad_rounding")
def test_int8_beyond_the_budget_is_left_out_with_the_reason(tmp_path, computes_bf16):
    said = make(tmp_path, ExportRequest(int8="auto"))
    package = read_package(tmp_path / "out")
    assert not package.has("int8_xml")
    assert not list(package.folder.glob("*int8*"))
    figures = package.description.parity["openvino/int8"]
    assert figures["kept"] is False
    assert "Dice" in str(figures["reason"])
    assert any("openvino/int8 is left out: Dice" in line for line in said)
    others = {"fp32", "bf16"} if computes_bf16 else {"fp32"}
    assert package.description.engine.precision in others
    assert str(figures["reason"]) in package.file("card").read_text("utf-8")


@pytest.mark.usefixtures("bad_rounding")
def test_int8_beyond_the_budget_fails_where_it_is_required(tmp_path):
    with pytest.raises(PackageError, match="int8 loses more than the budget"):
        make(tmp_path, ExportRequest(int8="required"))
    assert nothing_is_left(tmp_path)


def test_bf16_is_compared_where_the_processor_computes_it(tmp_path, computes_bf16):
    said = make(tmp_path)
    figures = read_package(tmp_path / "out").description.parity["openvino/bf16"]
    assert figures["kept"] is computes_bf16
    if computes_bf16:
        assert abs(number(figures, "lost_dice")) <= Budget().dice
    else:
        assert figures["reason"] == "not measured: this processor does not compute in bf16"
        assert f"openvino/bf16: {figures['reason']}" in said


def test_bf16_beyond_the_budget_is_left_out_with_the_reason(tmp_path, monkeypatch, computes_bf16):
    exact = check._compare

    def wrong_in_bf16(builder, engine, precision, against):
        if precision == "bf16":
            return against.compare(
                lambda batch: 0 * eager_probabilities(Blobs())(batch), strict=False
            )
        return exact(builder, engine, precision, against)

    monkeypatch.setattr(check, "_compare", wrong_in_bf16)
    said = make(tmp_path)
    description = read_package(tmp_path / "out").description
    assert description.parity["openvino/bf16"]["kept"] is False
    assert description.engine.precision == "fp32"
    assert any("openvino/bf16 is left out: Dice" in line for line in said) is computes_bf16


@pytest.mark.parametrize("other", [90, 50])
def test_the_quickest_way_that_this_processor_has_is_chosen(
    tmp_path, monkeypatch, computes_bf16, other
):
    """OpenVINO's, unless another engine is clearly faster."""
    ms = {"openvino/bf16": 100, "openvino/fp32": 130, "onnxruntime/fp32": other}
    monkeypatch.setattr(
        speed,
        "in_turns",
        lambda runs, *_, **__: {each: ms[each.run_as] for each in runs},
    )
    make(tmp_path)
    engine = read_package(tmp_path / "out").description.engine
    own = "openvino", "bf16" if computes_bf16 else "fp32"
    assert (engine.engine, engine.precision) == (("onnxruntime", "fp32") if other == 50 else own)


def test_a_time_budget_chooses_tile_and_threads_and_stores_the_table(tmp_path, computes_bf16):
    said = make(tmp_path, ExportRequest(int8="none", budget_ms=1e6, tile=(96, 128), threads=1))
    description = read_package(tmp_path / "out").description
    assert description.tile in (96, 128)
    assert description.engine.threads == 1
    engines = ["onnxruntime/fp32", "openvino/fp32", *(["openvino/bf16"] if computes_bf16 else [])]
    assert set(description.timings) == {
        f"{engine}, tile {tile}, 1 thread" for engine in engines for tile in (96, 128)
    }
    assert all(each["within_budget"] for each in description.timings.values())
    assert any("ms/tile" in line for line in said)


def test_a_time_budget_that_nothing_meets(tmp_path):
    with pytest.raises(ConfigError, match="nothing is that fast here"):
        make(tmp_path, ExportRequest(int8="none", budget_ms=1e-6))
    assert nothing_is_left(tmp_path)


def test_whatever_stops_the_export_leaves_nothing(tmp_path, monkeypatch):
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "model_card", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    assert nothing_is_left(tmp_path)


def test_json_holds_no_special_numbers(exported):
    text = (exported.package.folder / DESCRIPTION).read_text("utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert not re.search(r"\bNaN\b|Infinity", text)


def test_two_exports_are_equal_but_for_times(tmp_path):
    """Timings, the engine that they choose, and the card that tells of them; nothing else."""
    student = Blobs()
    weights = weights_of(student, tmp_path / "weights.safetensors")
    packages = [
        write_package(
            tmp_path / name, student, weights, FACTS, images(), ExportRequest(), lambda _: None
        ).folder
        for name in ("first", "second")
    ]
    assert "model-int8.xml" in equal_but_for_times(*packages)


def test_the_test_image_names_no_machine(exported):
    xml = tifffile.TiffFile(exported.package.file("test_image")).ome_metadata
    assert re.findall(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-(\d)", xml or "") == ["5"]


def test_no_text_of_a_run_is_html_or_a_link_in_the_card(exported):
    evil = '<img src=x onerror="a()">[b](http://c)\n\n# d | e'
    lineage = exported.package.description.lineage.model_copy(
        update={"teacher": evil, "notes": (evil,), "weights_licence": evil}
    )
    parity = {"openvino/fp32": {"images": 3, "kept": True, "reason": evil}, evil: {"reason": evil}}
    changes = {"title": evil, "architecture": evil, "lineage": lineage, "parity": parity}
    card = model_card(exported.package.description.model_copy(update=changes))
    assert "<img" not in card
    assert "[b](" not in card
    assert card.count('&lt;img src=x onerror="a()"&gt;\\[b\\](http://c) # d \\| e') >= 6
    assert [line for line in card.splitlines() if line.startswith("# ")] == [
        '# &lt;img src=x onerror="a()"&gt;\\[b\\](http://c) # d \\| e'
    ]


def test_the_card_says_whether_the_pixel_size_is_known(exported):
    description = exported.package.description
    known = description.model_copy(update={"pixel_size": 0.25})
    unknown = description.model_copy(update={"pixel_size": None})
    assert " at 0.25 µm per px (" in model_card(known)
    assert "For which pixel size it was made is not known" not in model_card(known)
    assert "For which pixel size it was made is not known: images are seen" in model_card(unknown)
