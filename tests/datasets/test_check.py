import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from helpers_of_datasets import ArrayImage, ArrayLabel, dataset_of, record, two_objects

from abbe.datasets import (
    CheckReport,
    Record,
    bbbc038,
    check,
    folder,
    image_notes,
    label_notes,
    simulated_tissue,
)
from abbe.datasets.collection import SPLITS
from abbe.datasets.inspection import measure_image, measure_label
from abbe.errors import InputError
from abbe.imaging import Image, write_labels
from abbe.imaging.labels.files import notes_on_labels, read_label_file


def problem(report: CheckReport, words: str) -> tuple[str, dict[str, str]]:
    """Severity and details by id of the one problem whose name holds these words."""
    (found,) = (it for it in report.problems if words in it.what)
    return found.severity, dict(found.where)


def test_a_clean_set(make_folder, tmp_path: Path):
    root = make_folder(
        names=[f"i{index}" for index in range(6)],
        index="id,split,group,stain\n"
        + "".join(f"i{n},{SPLITS[n // 2]},g{n // 2},s{n % 2}\n" for n in range(6)),
    )
    seen: list[tuple[int, int]] = []
    report = check(folder(root, pixel_size=0.25), crop=32, progress=lambda *step: seen.append(step))
    assert report.problems == ()
    assert report.ok
    assert seen == [(done, 6) for done in range(1, 7)]
    text = report.text()
    for words in (
        "set: 6 images",
        "train 2 (2 labelled), val 2 (2 labelled), test 2 (2 labelled)",
        "groups        3",
        "stain         s0 3, s1 3",
        "32×40 (6)",
        "uint8",
        "0.25 µm",
        "grey (6 images)",
        "objects       12; an image has 2 in the median",
        "median 62, half of them 25 to 100",
        "9.8% of the px",
        "0% of the objects share an edge",
        "no problem found",
    ):
        assert words in text
    values = json.loads(json.dumps(report.to_json()))
    assert values["ok"] is True
    assert values["splits"]["val"] == {"images": 2, "labelled": 2}
    assert values["images"]["i3"]["label"]["areas"] == [25, 100]


def test_every_problem_is_found_in_one_go(make_folder):
    root = make_folder(
        names=list("abcdefgh"),
        index="id,split,group\n"
        + "a,train,1\nb,test,1\nc,train,2\nd,train,3\ne,train,4\nf,train,5\ng,train,6\nz,val,7\n",
    )
    images, labels = root / "images", root / "labels"
    (images / "c.png").write_bytes((images / "c.png").read_bytes()[:100])
    PIL.Image.fromarray(np.zeros((32, 40), np.uint8)).save(images / "d.png")
    write_labels(labels / "e.png", two_objects((32, 41)))
    write_labels(labels / "f.png", np.zeros((32, 40), np.int32))
    PIL.Image.fromarray(np.ones((20, 40, 3), np.uint8) * 7).save(images / "g.png")
    (labels / "g.png").write_bytes(b"broken")
    write_labels(labels / "stray.png", two_objects())
    (images / "b.png").write_bytes((images / "a.png").read_bytes())

    report = check(folder(root), crop=32)
    assert not report.ok
    severity, where = problem(report, "image cannot be read")
    assert severity == "error"
    assert "c.png" in where["c"]
    assert problem(report, "label cannot be read")[1].keys() == {"g"}
    assert problem(report, "zero everywhere") == (
        "warning",
        {"d": "nothing can be learnt from it"},
    )
    severity, where = problem(report, "differ in size")
    assert severity == "error"
    assert where == {"e": "image 32×40 px, label 32×41 px"}
    assert problem(report, "no object")[1].keys() == {"f"}
    assert problem(report, "same value everywhere") == ("warning", {"g": "red, green, blue"})
    assert problem(report, "smaller than the crop")[1].keys() == {"g"}
    assert problem(report, "channels are not grey") == ("error", {"g": "red, green, blue"})
    assert problem(report, "in different splits (a leak)") == (
        "error",
        {"a": "same pixels as b (test)"},
    )
    assert problem(report, "a group is in two splits") == ("error", {"1": "in train and test"})
    assert problem(report, "there are no val images")[0] == "warning"
    listed = [it.where[0][1] for it in report.problems if it.what == "found while listing"]
    assert any("1 label without an image: stray.png" in it for it in listed)
    assert any("1 row of no image: z" in it for it in listed)
    assert any("1 image without a row: h" in it for it in listed)
    severities = [it.severity for it in report.problems]
    assert severities == sorted(severities)
    assert "ERROR   image cannot be read" in report.text()
    assert report.to_json()["problems"][0]["severity"] == "error"


def test_nan_is_an_error():
    pixels = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    pixels[0, :3] = [np.nan, np.inf, -np.inf]
    report = check(dataset_of(Record("a", ArrayImage(pixels))))
    severity, where = problem(report, "image cannot be read")
    assert severity == "error"
    assert "is NaN or infinite in 3 pixels" in where["a"]


def test_one_dead_channel():
    pixels = np.stack([np.zeros((8, 8), np.uint8), np.eye(8, dtype=np.uint8)])
    report = check(dataset_of(Record("a", ArrayImage(pixels, ("nucleus", "membrane")))))
    assert problem(report, "a channel is zero everywhere") == ("warning", {"a": "nucleus"})


def test_a_channel_that_is_flat_but_for_a_few_pixels_is_named():
    pixels = np.random.default_rng(0).integers(1, 255, (2, 64, 64), np.uint8)
    pixels[1] = 0
    pixels[1, 5:7, 5:7] = 180
    image = ArrayImage(pixels, ("nucleus", "marker"))
    report = check(dataset_of(Record("a", image, None)))
    severity, where = problem(report, "flat but for a few pixels")
    assert (severity, list(where)) == ("warning", ["a"])
    assert where["a"].startswith("marker; ")
    facts = report.images["a"]
    assert (facts.low[1], facts.high[1], facts.maximum[1]) == (0, 0, 180)


def test_notes_of_images_and_labels_reach_text_and_json(make_folder):
    root = make_folder(names=["a", "b"], labelled=["a"])
    exif = PIL.Image.Exif()
    exif[274] = 3
    for id in ("a", "b"):
        with PIL.Image.open(root / "images" / f"{id}.png") as stored:
            stored.save(root / "images" / f"{id}.png", exif=exif)
    with PIL.Image.open(root / "labels" / "a.png") as stored:
        stored.save(root / "labels" / "a.png", exif=exif)
    dataset = folder(root)
    report = check(dataset)
    note = "It was turned upright, as its orientation 3 says."
    assert f"note          images a, b: {note}" in report.text()
    assert f"note          label a: {note}" in report.text()
    values = json.loads(json.dumps(report.to_json()))
    assert values["read_notes"] == [
        {"of": "image", "note": note, "where": ["a", "b"]},
        {"of": "label", "note": note, "where": ["a"]},
    ]
    assert values["images"]["b"]["notes"] == [note]
    assert image_notes(dataset) == {note: ["a", "b"]}
    assert label_notes(dataset) == {note: ["a"]}


def test_notes_on_labels_are_those_of_reading_them(tmp_path):
    square = np.zeros((8, 8), np.uint8)
    square[2:5, 2:5] = 1
    palette = PIL.Image.fromarray(square, "P")
    palette.putpalette([255] * 3 + [0] * 3)
    palette.save(tmp_path / "palette.png")
    tifffile.imwrite(tmp_path / "white.tif", square * 255, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "plain.tif", square)
    for name, count in (("palette.png", 1), ("white.tif", 1), ("plain.tif", 0)):
        notes = notes_on_labels(tmp_path / name)
        assert notes == read_label_file(tmp_path / name).notes
        assert len(notes) == count


def test_images_twice_in_one_split_are_a_warning():
    one = record("a", split="train")
    report = check(dataset_of(one, Record("b", one.image, split="train")))
    severity, where = problem(report, "the same image is there twice")
    assert severity == "warning"
    assert where == {"a": "same pixels as b (train)"}


def test_images_of_different_form():
    pixels = np.arange(64).reshape(8, 8)
    report = check(
        dataset_of(
            Record("a", ArrayImage(pixels.astype(np.uint8))),
            Record("b", ArrayImage(pixels.astype(np.uint16))),
        )
    )
    assert problem(report, "type of number") == ("warning", {"": "uint16, uint8"})


def test_pixel_sizes_that_differ(tmp_path: Path):
    class Sized:
        def __init__(self, size: float | None) -> None:
            self.size = size

        def open(self) -> Image:
            return Image.from_array(np.eye(8), ["grey"], self.size)

    report = check(dataset_of(Record("a", Sized(0.5)), Record("b", Sized(None))))
    assert problem(report, "differ in pixel size") == ("warning", {"": "0.5, unknown"})


def test_a_test_split_that_cannot_be_scored():
    records = (
        record("a", split="train"),
        record("b", split="val"),
        record("c", split="test", labelled=False),
    )
    severity, _ = problem(check(dataset_of(*records)), "no test image has a label")
    assert severity == "warning"


def test_unknown_pixels_and_specks():
    labels = np.full((8, 8), -1, np.int32)
    unknown = check(dataset_of(Record("a", ArrayImage(np.eye(8)), ArrayLabel(labels.copy()))))
    assert problem(unknown, "unknown everywhere")[0] == "warning"
    labels[:4] = 0
    labels[0, 0] = 5
    report = check(dataset_of(Record("a", ArrayImage(np.eye(8)), ArrayLabel(labels))))
    assert problem(report, "at most 3 px") == ("warning", {"a": "1 of 1"})
    assert report.labels["a"].unknown == 0.5
    assert report.labels["a"].foreground == 1 / 32


def test_overlapping_masks_are_counted(tmp_path: Path):
    folder_of_image = tmp_path / "stage1_train" / "a"
    for kind in ("images", "masks"):
        (folder_of_image / kind).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(1, 255, (8, 8), np.uint8)
    PIL.Image.fromarray(pixels).save(folder_of_image / "images" / "a.png")
    for name, columns in (("m", slice(0, 4)), ("n", slice(3, 6)), ("o", slice(0, 0))):
        mask = np.zeros((8, 8), np.uint8)
        mask[:, columns] = 255
        PIL.Image.fromarray(mask).save(folder_of_image / "masks" / f"{name}.png")
    report = check(bbbc038(tmp_path))
    assert problem(report, "masks of objects overlap")[1]["a"].startswith("8 px")
    assert problem(report, "mask file without an object")[1] == {"a": "o.png"}
    assert report.labels["a"].touching == 2


def test_label_statistics_against_a_plain_count():
    labels = np.random.default_rng(0).integers(-1, 4, (30, 30)).astype(np.int32)
    facts = measure_label(labels)
    assert facts.areas == tuple(int((labels == value).sum()) for value in (1, 2, 3))
    assert facts.unknown == pytest.approx((labels == -1).mean())
    assert facts.foreground == pytest.approx((labels > 0).sum() / (labels >= 0).sum())
    assert facts.touching == 3
    assert measure_label(two_objects()).touching == 0


def test_reading_in_strips_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    pixels = np.random.default_rng(0).integers(0, 999, (2, 50, 40)).astype(np.uint16)
    image = Image.from_array(pixels, ("a", "b"))
    whole = measure_image(image)
    assert whole.low == pytest.approx(np.percentile(pixels.reshape(2, -1), 1, axis=1))
    monkeypatch.setattr("abbe.datasets.inspection.STRIP_BYTES", 40 * 2 * 2 * 7)
    strips = measure_image(image)
    assert (strips.minimum, strips.maximum) == (whole.minimum, whole.maximum)
    assert (strips.low, strips.high) == (whole.low, whole.high)


def test_the_contact_sheet_shows_what_can_be_read(make_folder, tmp_path: Path):
    root = make_folder()
    (root / "images" / "a.png").write_bytes(b"broken")
    write_labels(root / "labels" / "b.png", two_objects((9, 9)))
    report = check(folder(root))
    with PIL.Image.open(report.contact_sheet(tmp_path / "out" / "sheet.png")) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert picture.format == "PNG"
    assert (pixels == (255, 220, 0)).all(1).any()  # the outlines of c


def test_a_contact_sheet_of_nothing(make_folder, tmp_path: Path):
    root = make_folder(names=["a", "b"])
    dataset = folder(root)
    for file in (root / "images").iterdir():
        file.write_bytes(b"broken")
    report = check(dataset)
    assert "2 images" in report.text()
    with pytest.raises(InputError, match="no readable image"):
        report.contact_sheet(tmp_path / "sheet.png")


def test_simulated_sets_say_so():
    report = check(simulated_tissue(2, size=64))
    assert "simulated" in report.text()
    assert report.to_json()["simulated"] is True


@pytest.mark.real
@pytest.mark.slow
def test_real_sets(data_root: Path, tmp_path: Path):
    report = check(folder(data_root / "dsb2018"))
    severity, where = problem(report, "channels are not grey")
    assert severity == "error"
    assert len(where) == 86
    assert "23792" in report.text()
    assert check(folder(data_root / "dsb2018").where(kind="fluo")).ok
    ultrasound = check(folder(data_root / "us_busi"))
    assert ultrasound.ok
    assert len(problem(ultrasound, "no object")[1]) == 106
    codex = check(folder(data_root / "codex_2ch", labels="labels/expert1"))
    severity, where = problem(codex, "cannot be split")  # two tiles
    assert severity == "warning"
    assert "there are 2" in where[""]
    codex.contact_sheet(tmp_path / "sheet.png")


def test_images_that_a_drawn_split_puts_on_both_sides_are_a_leak():
    one = record("a")
    twice = dataset_of(one, Record("b", one.image), record("c"))
    drawn = {"a": "train", "b": "test", "c": "val"}
    report = check(twice, divide=lambda dataset: dataset.with_splits(drawn))
    leak = ("error", {"a": "same pixels as b (test)"})
    assert problem(report, "in different splits (a leak)") == leak
