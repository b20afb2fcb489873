"""A promptable student as a package, and the package's answers against eager torch.

Its weights are random: what is tested is that nothing is lost on the way. torch takes a while to
export it, so that there is one package for all tests.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from commands import abbe as command
from PIL import Image as Picture
from small_students import FACTS, equal_but_for_times
from visits import look, visit

import abbe
from abbe import sam, students
from abbe.errors import InputError, PackageError
from abbe.exporting.builder import PackageBuilder
from abbe.exporting.networks import int8
from abbe.exporting.parity import check as parity_check
from abbe.exporting.parity import promptable as promptable_parity
from abbe.exporting.parity.check import add_int8
from abbe.exporting.parity.promptable import (
    ParityPicture,
    Pictures,
    PromptableCheck,
    Reference,
    compare_exact,
    compare_rounded,
    iou,
    references,
)
from abbe.exporting.request import Budget, ExportRequest
from abbe.exporting.write import write_package
from abbe.imaging import read_labels, write_png
from abbe.runtime.package import Package, describe_file, read_package, write_description
from abbe.web import build_site

pytestmark = pytest.mark.slow

SIDE = 64
CLICKS: dict[str, Any] = {"point_coords": [[12.5, 30], [40, 9]], "point_labels": [1, 0]}
BOX: dict[str, Any] = {"box": [3, 4, 40, 44.5]}
MASK: dict[str, Any] = {
    "mask_input": np.random.default_rng(8).normal(0, 5, (1, 16, 16)).astype(np.float32)
}


class Exported(NamedTuple):
    package: Package
    student: sam.SAM
    said: list[str]


def pictures(count: int) -> list[ParityPicture]:
    random = np.random.default_rng(0)
    prompts: tuple[dict[str, Any], ...] = ({"box": [5, 6, 40, 44]}, CLICKS)
    return [
        ParityPicture(f"picture-{n}", random.integers(0, 256, (50, 70, 3), np.uint8), prompts)
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("promptable"))


def export(folder: Path) -> Exported:
    """The same student, made and exported anew."""
    torch.manual_seed(3)
    student = students.build_promptable(
        "promptable-resnet18", side=SIDE, encoder_weights="random"
    ).eval()
    students.save_promptable(folder / "student.safetensors", student, {})
    other = {"outputs", "thresholds", "instances", "normalisation"}
    facts = {key: value for key, value in FACTS.items() if key not in other} | {
        "task": "promptable",
        "channels": ("red", "green", "blue"),
        "three_channels": "colour",
        "image_size": (SIDE, SIDE),
        "pixel_size": None,
        "tile": SIDE,
        "halo": 0,
    }
    said: list[str] = []
    weights = folder / "student.safetensors"
    request, shown = ExportRequest(int8="none"), Pictures(pictures(2), "val")
    package = write_package(folder / "clicks", student, weights, facts, shown, request, said.append)
    return Exported(package, student, said)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "prompt", [CLICKS, BOX, CLICKS | BOX, CLICKS | MASK, CLICKS | BOX | MASK], ids="+".join
)
def test_the_package_answers_as_eager_torch(exported, engine, prompt):
    ours = abbe.PromptablePredictor(exported.package, engine=engine, threads=1)
    theirs = sam.PromptablePredictor(exported.student)
    picture = np.random.default_rng(1).integers(0, 256, (90, 61, 3), dtype=np.uint8)
    for predictor in (ours, theirs):
        predictor.set_image(picture)
    embedding = theirs.get_image_embedding().numpy()
    assert np.abs(ours.get_image_embedding() - embedding).max() < 1e-4 * np.abs(embedding).max()
    for multimask in (True, False):
        answers = [
            p.predict(**prompt, multimask_output=multimask, return_logits=True)
            for p in (ours, theirs)
        ]
        for mine, other in zip(*answers, strict=True):
            assert mine.shape == other.shape
            assert np.abs(mine - other).max() < 1e-3 * np.abs(other).max()
        mask = ours.predict(**prompt, multimask_output=multimask)[0]
        assert mask.dtype == bool
        assert np.array_equal(mask, answers[0][0] > 0)


def test_two_exports_are_equal_but_for_times(exported, tmp_path):
    names = equal_but_for_times(exported.package.folder, export(tmp_path).package.folder)
    assert {"encoder.onnx", "decoder.onnx", "expected.npz"} <= set(names)


def test_the_package_says_what_it_is_and_holds_its_parity(exported):
    package = exported.package
    roles = {f"{part}_{kind}" for part in ("encoder", "decoder") for kind in ("onnx", "xml", "bin")}
    files = set(package.description.files)
    assert files == roles | {"weights", "test_image", "expected", "card"}
    for figures in package.description.parity.values():
        assert (figures["images"], figures["prompts"], figures["images_of"]) == (2, 4, "val")
    assert set(package.description.parity) == {"onnxruntime/fp32", "openvino/fp32"}
    card = package.file("card").read_text("utf-8")
    assert "**The teacher is a stand-in**" in card
    assert "abbe.PromptablePredictor" in card
    expected = np.load(package.file("expected"), allow_pickle=False)
    predictor = abbe.PromptablePredictor(package)
    predictor.set_image(np.asarray(Picture.open(package.file("test_image"))))
    mask, _, _ = predictor.predict(box=expected["boxes"][0], multimask_output=False)
    assert iou(mask[0], expected["masks"][0]) > 0.99
    loaded, _ = students.load_promptable(package.file("weights"))
    ours, theirs = loaded.state_dict(), exported.student.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_decoder_has_the_inputs_of_sams_own_export(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported.package.file("decoder_onnx")))
    shapes = {port.name: port.shape for port in session.get_inputs()}
    assert shapes == {
        "image_embeddings": [1, 256, 4, 4],
        "point_coords": [1, "points", 2],
        "point_labels": [1, "points"],
        "mask_input": [1, 1, 16, 16],
        "has_mask_input": [1],
    }
    assert [port.name for port in session.get_outputs()] == ["low_res_masks", "iou_predictions"]


def test_a_package_that_answers_otherwise_is_found_out(exported):
    other = students.build_promptable(
        "promptable-resnet18", side=SIDE, encoder_weights="random"
    ).eval()
    known = references(sam.PromptablePredictor(other), pictures(2))
    ours = abbe.PromptablePredictor(exported.package, threads=1)
    assert "the embedding of 'picture-" in compare_exact(ours, known, "val").problem
    other.image_encoder = exported.student.image_encoder  # now only the decoder differs
    known = references(sam.PromptablePredictor(other), pictures(2))
    assert (
        "masks agree with eager torch to a mean IoU of" in compare_exact(ours, known, "val").problem
    )


PICTURE = np.zeros((20, 30, 3), np.uint8)
BAD_PROMPTS: dict[str, dict[str, Any]] = {
    "no prompt was given": {},
    "must be given together": {"point_coords": [[1, 1]]},
    "P ≥ 1 is needed": {"point_coords": np.zeros((0, 2)), "point_labels": []},
    "points lie outside": {"point_coords": [[30, 5]], "point_labels": [1]},
    "1 of 1 points": {"point_coords": [[float("nan"), 5]], "point_labels": [1]},
    "for each of 1 points": {"point_coords": [[3, 5]], "point_labels": [1, 1]},
    "has no area": {"box": [5, 5, 5, 9]},
    "reaches outside": {"box": [5, 5, 31, 9]},
    "mask_input has the shape": {"mask_input": np.zeros((1, 8, 8))},
}


@pytest.mark.parametrize("message", BAD_PROMPTS)
def test_prompts_that_mean_nothing_are_refused(exported, message):
    predictor = abbe.PromptablePredictor(exported.package, threads=1)
    predictor.set_image(PICTURE)
    with pytest.raises(InputError, match=message):
        predictor.predict(**BAD_PROMPTS[message])
    predictor.reset_image()
    with pytest.raises(InputError, match="set_image"):
        predictor.predict(**BOX)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 20_000), (7, 5, 4), (3000, 2)])
def test_images_of_any_form_are_answered_at_their_size(exported, shape):
    predictor = abbe.PromptablePredictor(exported.package, threads=1)
    predictor.set_image(np.full(shape, 90, np.uint8))
    masks, scores, low = predictor.predict(box=[0, 0, shape[1], shape[0]])
    assert masks.shape == (3, *shape[:2])
    assert scores.shape == (3,)
    assert low.shape == (3, 16, 16)


@pytest.mark.parametrize(
    "image",
    [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8),
     np.zeros((2, 20_001), np.uint8)],
)  # fmt: skip
def test_other_images_are_refused(exported, image):
    with pytest.raises(InputError):
        abbe.PromptablePredictor(exported.package, threads=1).set_image(image)


def test_a_damaged_network_is_refused(exported, tmp_path):
    shutil.copytree(exported.package.folder, tmp_path / "copy")
    path = tmp_path / "copy" / "decoder.xml"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PackageError, match="not the file that was packed"):
        abbe.PromptablePredictor(tmp_path / "copy")


def test_the_limit_is_the_one_that_is_stated(exported, monkeypatch):
    monkeypatch.setattr(promptable_parity, "LARGEST_ERROR", 0.0)
    known = references(sam.PromptablePredictor(exported.student), pictures(1))
    ours = abbe.PromptablePredictor(exported.package, threads=1)
    assert "at most 0 is allowed" in compare_exact(ours, known, "val").problem


def test_predict_asks_for_each_object_of_each_image(exported, tmp_path, capsys):
    random = np.random.default_rng(4)
    for name in ("a", "b", "c", "d"):
        picture = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Picture.fromarray(picture).save(tmp_path / "images" / f"{name}.png")
    table = tmp_path / "prompts.csv"
    table.write_text("id,x0,y0,x1,y1\na,2,3,30,30\na,31,5,60,40\nb,,,,\nc,0,0,61,10\n")
    words = ["predict", exported.package.folder, tmp_path / "images"]
    results = ["--results", "labels", "table", "geojson", "overview"]
    out = ["--out", tmp_path / "out", *results, "--threads", 1]
    (tmp_path / "out").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    part = f".{ended.pid}.part"  # a number of no process that runs
    for killed in (f".a.geojson{part}", f".b.labels.tif{part}", f".other.csv{part}"):
        (tmp_path / "out" / killed).touch()
    assert command(*words, "--prompts", table, *out) == 1
    said = capsys.readouterr().out
    assert "line 5: box (0, 0, 61, 10) reaches outside the image" in said
    assert "no row for the image 'd'" in said
    left = [path.name for path in (tmp_path / "out").glob(".*")]
    assert left == [f".other.csv{part}"]  # of an image that another process may have in hand
    labels = read_labels(tmp_path / "out" / "a.labels.tif")
    assert not read_labels(tmp_path / "out" / "b.labels.tif").any()
    assert not (tmp_path / "out" / "c.labels.tif").exists()
    predictor = abbe.PromptablePredictor(exported.package, threads=1)
    predictor.set_image(np.asarray(Picture.open(tmp_path / "images" / "a.png")))
    boxes = [[2, 3, 30, 30], [31, 5, 60, 40]]
    masks = [predictor.predict(box=box, multimask_output=False)[0][0] for box in boxes]
    assert np.array_equal(labels > 0, masks[0] | masks[1])
    assert (labels[masks[0] & ~masks[1]] == 1).all()
    assert (labels[masks[1] & ~masks[0]] == 2).all()
    rows = (tmp_path / "out" / "a.csv").read_text().splitlines()[1:]
    areas = [int(row.split(",")[3]) for row in rows]
    assert areas == [n for n in np.bincount(labels.ravel(), minlength=3)[1:] if n]
    assert (tmp_path / "out" / "a.geojson").exists()
    assert (tmp_path / "out" / "a.overview.png").exists()


def builder_of(exported: Exported, folder: Path) -> PackageBuilder:
    """The exported package, as if its builder were not finished."""
    shutil.copytree(exported.package.folder, folder)
    description = exported.package.description
    facts = {
        key: getattr(description, key)
        for key in type(description).model_fields
        if key not in ("files", "parity", "timings")
    }
    return PackageBuilder(folder, folder.parent / "cache", facts, dict(description.files))


@pytest.fixture(scope="module")
def rounded_once() -> Iterator[None]:
    """Each preset rounds the exported encoder once: it is the same one for all tests."""
    kept: dict[str, Any] = {}

    def once(model: Any, batches: Any, preset: int8.QuantizationPreset) -> Any:
        if preset.name not in kept:
            kept[preset.name] = int8.quantise(model, batches, preset)
        return kept[preset.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity_check, "quantise", once)
        yield


def check_of(exported: Exported) -> PromptableCheck:
    known = references(sam.PromptablePredictor(exported.student), pictures(2))
    shown = [picture.picture for picture in pictures(3)]
    return PromptableCheck(known, Pictures(pictures(2), "val", shown), SIDE)


@pytest.mark.usefixtures("rounded_once")
def test_an_int8_encoder_within_the_budget_is_kept_and_runs(exported, tmp_path):
    builder = builder_of(exported, tmp_path / "rounded")
    check = check_of(exported)
    said: list[str] = []
    add_int8(builder, check, Budget(dice=1.0), said.append)
    figures = builder.parity["openvino/int8"]
    assert (figures["kept"], figures["measured_against"]) == (True, "eager")
    assert figures["preset"] == "symmetric"
    assert "symmetric" in said[0]
    package = builder.package()
    rounded = abbe.PromptablePredictor(package, precision="int8", threads=1)
    exact = abbe.PromptablePredictor(package, threads=1)
    assert (rounded.networks.precision, exact.networks.precision) == ("int8", "fp32")
    for predictor in (rounded, exact):
        predictor.set_image(pictures(1)[0].picture)
    error = promptable_parity.relative_error(
        rounded.get_image_embedding(), exact.get_image_embedding()
    )
    assert 0 < error < 0.5


@pytest.mark.usefixtures("rounded_once")
def test_int8_that_loses_too_much_is_left_out_or_fails(exported, tmp_path):
    builder = builder_of(exported, tmp_path / "rounded")
    check = check_of(exported)
    said: list[str] = []
    add_int8(builder, check, Budget(dice=-1.0), said.append)
    assert builder.parity["openvino/int8"]["kept"] is False
    assert "encoder_int8_xml" not in builder.files
    assert not (builder.folder / "encoder-int8.xml").exists()
    assert "at most -1.0000 allowed" in said[-1]
    with pytest.raises(PackageError, match=r"Allow more with --budget-dice"):
        add_int8(builder, check, Budget(dice=-1.0), said.append, required=True)


def test_what_rounding_costs_is_measured_against_the_labels_where_there_are_some(exported):
    reference, _ = check_of(exported).known
    right = Reference(
        replace(reference.picture, truths=reference.masks), reference.embedding, reference.masks
    )
    exact = sam.PromptablePredictor(exported.student)
    compared = compare_rounded(exact, [right], "val")
    assert (compared.figures["measured_against"], compared.lost) == ("labels", {"dice": 0.0})
    wrong = replace(right, picture=replace(right.picture, truths=tuple(~m for m in right.masks)))
    assert compare_rounded(exact, [wrong], "val").lost == {"dice": 0.0}  # the student was as wrong


def test_predict_without_prompts_or_with_what_does_not_fit_says_so(exported, tmp_path, capsys):
    Picture.fromarray(PICTURE).save(tmp_path / "a.png")
    words = ["predict", exported.package.folder, tmp_path / "a.png", "--out", tmp_path / "out"]
    assert command(*words) == 1
    assert "give --prompts" in capsys.readouterr().err
    (tmp_path / "p.csv").write_text("id,x,y\na,3,3\n")
    for option, complaint in (
        (["--tile", 64], "sees each image whole"),
        (["--precision", "int8"], "has no int8 encoder"),
        (["--precision", "bf16"], "does not run in bf16"),
        (["--results", "probability"], "a promptable package gives labels"),
    ):
        assert command(*words, "--prompts", tmp_path / "p.csv", *option) == 1
        assert complaint in capsys.readouterr().err


def test_bench_times_encoder_and_decoder(exported, tmp_path, capsys):
    out = tmp_path / "b.json"
    assert command("bench", exported.package.folder, "--repeats", 1, "--json", out) == 0
    figures = json.loads(out.read_text("utf-8"))
    for name in ("openvino/fp32", "onnxruntime/fp32"):
        assert 0 < figures["encoder"][name] < 10_000
        assert 0 < figures["decoder"][name] < 10_000
        assert 50 < figures["peak_mib"][name] < 2000
        assert all(0 < seconds < 60 for seconds in figures["cold_start"][name])
    assert "no int8 encoder" in figures["left_out"]["openvino/int8"]
    assert "decoder ms/prompt" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--compare"], ["--side", 64], ["a.png"]], ids=str)
def test_bench_refuses_what_is_not_for_promptable_packages(exported, capsys, words):
    assert command("bench", exported.package.folder, *words) == 1
    assert "timed on a square of its own size" in capsys.readouterr().err


def test_a_check_compares_the_masks_expected(exported, tmp_path, capsys):
    folder = shutil.copytree(exported.package.folder, tmp_path / "clicks")
    student = sam.PromptablePredictor(exported.student)
    student.set_image(pictures(1)[0].picture)
    mask = student.predict(box=BOX["box"], multimask_output=False)[0][0]
    for known, code in ((mask, 0), (~mask, 1)):
        prompts = {"boxes": np.array([BOX["box"]]), "points": np.zeros((0, 2))}
        np.savez(folder / "expected.npz", allow_pickle=False, masks=known[None], **prompts)
        description = read_package(folder).description
        files = description.files | {"expected": describe_file(folder, "expected.npz")}
        write_description(folder, description.model_copy(update={"files": files}))
        assert command("bench", folder, "--check") == code
    assert "differs by more than 0.001: openvino/fp32" in capsys.readouterr().out


def test_the_page_answers_clicks_and_boxes_as_the_package_does(
    exported, tmp_path, runtime, browser, served
):
    package, image = exported.package, tmp_path / "picture.png"
    picture = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    write_png(image, picture)
    predictor = abbe.PromptablePredictor(package, engine="onnxruntime", precision="fp32")
    predictor.set_image(picture)
    build_site(package, tmp_path / "site", runtime=runtime, webgpu=False)
    prompts = [
        {"points": [[40.5, 30]], "labels": [1], "box": None},
        {"points": [[40.5, 30], [90, 70]], "labels": [1, 0], "box": None},
        {"points": [], "labels": [], "box": [20, 15, 88, 70.5]},
    ]
    with visit(browser, served(tmp_path / "site")) as page:
        look(page, image)
        for prompt in prompts:
            found = page.evaluate(
                """async (prompt) => {
                const { masks } = await abbe.asking.ask("prompt", { prompt });
                for (const [number, each] of masks.entries()) {
                  each.mask ??= (await abbe.asking.ask("mask", { number })).mask;
                }
                return masks.map(({ score, mask: { left, top, width, height, data } }) =>
                  [score, [top, left, top + height, left + width], [...data]]); }""",
                prompt,
            )
            points = {"point_coords": prompt["points"], "point_labels": prompt["labels"]}
            given = points if prompt["points"] else {"box": prompt["box"]}
            several = len(prompt["points"]) == 1
            masks, scores, _ = predictor.predict(**given, multimask_output=several)
            order = np.argsort(-scores, kind="stable")
            np.testing.assert_allclose([each[0] for each in found], scores[order], atol=1e-3)
            for (_, (top, left, bottom, right), mask), number in zip(found, order, strict=True):
                seen = np.zeros(masks.shape[1:], bool)
                seen[top:bottom, left:right] = np.reshape(mask, (bottom - top, right - left))
                assert iou(seen, masks[number]) > 0.995
                assert masks[number].any()
