"""Results in DICOM, read back by highdicom and pydicom, and what they refer to."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from made_dicom import nuclei_slide, write_image, write_level
from made_packages import (
    blobs,
    make_class_package,
    make_package,
    make_region_package,
    one_convolution,
    slide_types,
)
from PIL import Image as Picture

from abbe.errors import ConfigError, InputError, MissingExtraError
from abbe.imaging import read_labels
from abbe.imaging.formats.dicom.series import source_of
from abbe.runtime.batch.many import Outcome
from abbe.runtime.batch.predict_files import predict_files
from abbe.runtime.package.description import Normalisation

hd: Any = pytest.importorskip("highdicom")
pytest.importorskip("openslide")

TYPES = ("Tumor", "Lymphozyt, groß")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dicom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def predict(package: Path, image: Path, out: Path, *results: str, **options: Any) -> Outcome:
    usual: dict[str, Any] = {"progress": False, "precision": "fp32", "all_tiles": True}
    return predict_files(package, [image], out, results=results, **(usual | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def typed(place: Path) -> dict[str, Any]:
    """A typed package's results for a slide, of which the second level is named."""
    path, types = nuclei_slide(place / "slide")
    package = slide_types(place / "typed", TYPES, pixel_size=0.5, tile=256)
    named = path.with_name("level-2.dcm")
    results = "labels", "table", "geojson", "dicom-seg", "dicom-ann"
    outcome = predict(package, named, place / "out", *results)
    assert not outcome.failed, outcome.failed
    stem = place / "out" / "level-2"
    with open(f"{stem}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {"types": types, "stem": str(stem), "rows": rows, "slide": path, "package": package}


def header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def test_a_segmentation_has_the_classes_of_pixels_where_the_slide_has_them(typed):
    written = hd.seg.segread(typed["stem"] + ".seg.dcm")
    pixels = written.get_total_pixel_matrix(combine_segments=True)
    labels = read_labels(Path(typed["stem"] + ".labels.tif"))
    kind_of = {int(row["label"]): TYPES.index(row["class"]) + 1 for row in typed["rows"]}
    kinds = np.array([kind_of.get(number, 0) for number in range(labels.max() + 1)])
    np.testing.assert_array_equal(pixels, kinds[labels])
    assert np.mean(pixels == typed["types"]) > 0.99  # JPEG
    assert [str(each.SegmentLabel) for each in written.SegmentSequence] == list(TYPES)
    assert written.segmented_property_types[0].meaning == "Neoplasm"

    slide, read = header(typed["slide"]), header(Path(typed["stem"] + ".seg.dcm"))
    assert read.Modality == "SEG"
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "ContainerIdentifier"):
        assert read[name].value == slide[name].value
    assert str(read.PatientName) == "Müller^Änne"
    assert read.SpecimenDescriptionSequence[0].SpecimenIdentifier == "S-1-ä"
    (series,) = read.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slide.SeriesInstanceUID != read.SeriesInstanceUID
    (shown,) = series.ReferencedInstanceSequence
    assert shown.ReferencedSOPInstanceUID == slide.SOPInstanceUID
    (shared,) = read.SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.0005, 0.0005]
    (place,), (own,) = read.TotalPixelMatrixOriginSequence, slide.TotalPixelMatrixOriginSequence
    assert place.XOffsetInSlideCoordinateSystem == own.XOffsetInSlideCoordinateSystem
    assert read.ImageOrientationSlide == slide.ImageOrientationSlide


def test_annotations_are_the_outlines_with_classes_and_measurements(typed):
    written = hd.ann.annread(typed["stem"] + ".ann.dcm")
    features = json.loads(Path(typed["stem"] + ".geojson").read_text("utf-8"))["features"]
    outlines = {int(each["properties"]["name"]): each for each in features}
    groups = written.get_annotation_groups()
    assert [group.label for group in groups] == list(TYPES)
    by_label = {int(row["label"]): row for row in typed["rows"]}
    seen = 0
    for group in groups:
        drawn = group.get_graphic_data(coordinate_type="2D")
        names, values, units = group.get_measurements()
        columns = {each.meaning: values[:, k] for k, each in enumerate(names)}
        assert units[[each.meaning for each in names].index("Area")].value == "um2"
        for k, points in enumerate(drawn):
            number = int(columns["label"][k])
            row, feature = by_label[number], outlines[number]
            assert row["class"] == group.label
            ring = np.array(feature["geometry"]["coordinates"][0])
            np.testing.assert_array_equal(points, ring[:-1])
            for name, column in (
                ("Area", "area_um2"), ("confidence", "confidence"), ("mean_red", "mean_red"),
                ("probability_Tumor", "probability_Tumor"),
            ):  # fmt: skip
                assert columns[name][k] == pytest.approx(float(row[column]), rel=1e-5)
            seen += 1
    assert seen == len(by_label) > 200
    slide = header(typed["slide"])
    (shown,) = written.ReferencedImageSequence
    assert shown.ReferencedSOPInstanceUID == slide.SOPInstanceUID
    assert written.ReferencedSeriesSequence[0].SeriesInstanceUID == slide.SeriesInstanceUID
    assert (written.AnnotationCoordinateType, written.PixelOriginInterpretation) == ("2D", "VOLUME")
    assert written.PatientID == slide.PatientID


def test_a_segmentation_has_the_pixels_of_the_level_that_was_seen(typed, place):
    package = slide_types(place / "coarse", TYPES, pixel_size=1.0, tile=256)
    out = place / "coarse-out"
    outcome = predict(
        package, typed["slide"], out, "labels", "dicom-seg", "dicom-ann", simplify=0.5
    )
    assert not outcome.failed
    written = hd.seg.segread(out / "level-1.seg.dcm")
    level = typed["slide"].with_name("level-2.dcm")
    assert written.TotalPixelMatrixRows == header(level).TotalPixelMatrixRows
    assert (
        written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0] == 0.001
    )
    pixels = written.get_total_pixel_matrix(combine_segments=True)
    labels = read_labels(out / "level-1.labels.tif")[1::2, 1::2]
    np.testing.assert_array_equal(pixels > 0, labels > 0)
    groups = hd.ann.annread(out / "level-1.ann.dcm").get_annotation_groups()
    drawn = [points for group in groups for points in group.get_graphic_data("2D")]
    assert any((points % 1).any() for points in drawn)  # simplified outlines leave the edges


def test_regions_have_a_segment_a_class_but_the_background(typed, place):
    package = make_region_package(place / "regions", channels=("red", "green", "blue"))
    out = place / "regions-out"
    outcome = predict(package, typed["slide"], out, "labels", "dicom-seg")
    assert not outcome.failed
    written = hd.seg.segread(out / "level-1.seg.dcm")
    assert [str(each.SegmentLabel) for each in written.SegmentSequence] == ["grey", "bright"]
    pixels = written.get_total_pixel_matrix(combine_segments=True)
    np.testing.assert_array_equal(pixels, np.asarray(read_labels(out / "level-1.labels.tif")))


def test_tiles_that_are_classified_are_annotations(typed, place):
    package = make_class_package(place / "classes", channels=("red", "green", "blue"))
    out = place / "classes-out"
    assert not predict(package, typed["slide"], out, "table", "dicom-ann").failed
    with open(out / "level-1.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    groups = hd.ann.annread(out / "level-1.ann.dcm").get_annotation_groups()
    found = {
        (group.label, float(points[:, 0].min()), float(points[:, 1].min()))
        for group in groups
        for points in group.get_graphic_data("2D")
    }
    assert found == {(row["class"], float(row["x"]), float(row["y"])) for row in rows}


def test_objects_of_a_single_image_have_a_segment_each(place):
    package = make_package(place / "grey")
    image = write_image(place / "us.dcm", blobs(120, 130))
    out = place / "grey-out"
    outcome = predict(package, image, out, "labels", "dicom-seg", class_name="Follicle")
    assert not outcome.failed, outcome.failed
    labels = read_labels(out / "us.labels.tif")
    read = pydicom.dcmread(out / "us.seg.dcm")
    assert [each.SegmentLabel for each in read.SegmentSequence] == [
        f"Follicle {number}" for number in range(1, labels.max() + 1)
    ]
    frames = read.pixel_array
    for frame, groups in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(frame, labels == number)
    assert len(frames) == labels.max() > 3
    failed = predict(package, image, out, "dicom-ann").failed
    assert "refer to a whole slide, and this is a single image" in str(failed)


def test_where_nothing_is_found_there_are_no_annotations_and_an_empty_segmentation(place):
    path, _ = nuclei_slide(place / "empty")
    package = slide_types(place / "blind", TYPES, bias=-1000.0, tile=256)
    out = place / "empty-out"
    out.mkdir()
    (out / "level-1.ann.dcm").write_bytes(b"of an earlier run")
    assert not predict(package, path, out, "dicom-seg", "dicom-ann").failed
    assert not (out / "level-1.ann.dcm").exists()
    written = hd.seg.segread(out / "level-1.seg.dcm")
    assert not written.get_total_pixel_matrix(combine_segments=True).any()
    assert predict(package, path, out, "dicom-ann").kept == [str(path)]  # and not looked for again


def test_holes_that_annotations_cannot_have_are_told(place):
    ring = np.full((300, 400, 3), 220, np.uint8)
    ring[50:100, 50:100] = ring[50:100, 150:200] = 40
    ring[72:78, 72:78] = 220
    (place / "ring").mkdir()
    path = place / "ring/a.dcm"
    write_level(path, ring, 0.0005, ("1.2.4", "1.2.3"), 1)
    weight = np.zeros((2, 3, 1, 1))
    weight[0, 1] = -40  # dark in green is an object, and no line parts objects
    package = make_package(
        place / "ring-package", network=one_convolution(weight, np.array([16.0, -9]), pool=False),
        channels=("red", "green", "blue"), normalisation=Normalisation(kind="range"), tile=256,
    )  # fmt: skip
    outcome = predict(package, path, place / "ring-out", "dicom-seg", "dicom-ann")
    (told,) = (note for note in outcome.notes if "hole" in note)
    assert told.startswith("1 hole in its objects cannot be told by dicom-ann")
    (group,) = hd.ann.annread(place / "ring-out/a.ann.dcm").get_annotation_groups()
    assert len(group.get_graphic_data(coordinate_type="2D")) == 2


def test_what_is_no_dicom_is_told_before_it_is_computed_and_the_rest_goes_on(typed, place):
    Picture.fromarray(np.zeros((64, 64, 3), np.uint8)).save(place / "a.png")
    images = [place / "a.png", typed["slide"]]
    package = slide_types(place / "typed-2", TYPES, tile=256)
    outcome = predict_files(
        package, images, place / "two", results=["dicom-ann"], progress=False, all_tiles=True
    )
    assert list(outcome.done) == [str(typed["slide"])]
    (message,) = outcome.failed.values()
    assert message.startswith(f"{place / 'a.png'}: results in DICOM refer to a DICOM image")


def test_a_slide_that_does_not_say_where_it_lies_is_refused(place, tmp_path):
    path, _ = nuclei_slide(tmp_path, side=300)
    dataset = pydicom.dcmread(path)
    del dataset.TotalPixelMatrixOriginSequence
    dataset.save_as(path)
    with pytest.raises(InputError, match="does not say TotalPixelMatrixOriginSequence"):
        source_of(path)


def test_the_extra_is_named_before_anything_is_computed(typed, place, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"abbe\[dicom\]"):
        predict(typed["package"], typed["slide"], place / "none", "dicom-seg")


def test_other_packages_say_which_results_they_have(place):
    package = make_region_package(place / "regions-2")
    image = write_image(place / "b.dcm", blobs(60, 60))
    with pytest.raises(ConfigError, match="dicom-ann: a regions package gives"):
        predict(package, image, place / "none", "dicom-ann")
