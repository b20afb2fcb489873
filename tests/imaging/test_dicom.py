"""DICOM in: single images by pydicom, whole slides by OpenSlide."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from made_dicom import write_image, write_level  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.pixels.utils import pixel_array  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

from abbe.errors import InputError, MissingExtraError  # noqa: E402
from abbe.imaging import Region, open_image, open_slide  # noqa: E402
from abbe.imaging.formats.dicom import images  # noqa: E402
from abbe.imaging.formats.dicom.series import source_of  # noqa: E402


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)


def test_grey_images_are_read_as_stored(tmp_path, grey):
    image = open_image(write_image(tmp_path / "a.dcm", grey, PixelSpacing=[0.2, 0.2]))
    assert image.dtype == np.uint16
    assert image.pixel_size == pytest.approx(200)
    np.testing.assert_array_equal(image.read()[0], grey)
    np.testing.assert_array_equal(image.read(Region(5, 6, 20, 30))[0], grey[5:20, 6:30])


def test_a_file_is_told_by_what_it_holds_not_by_its_name(tmp_path, grey):
    path = write_image(tmp_path / "IM_0001", grey)
    np.testing.assert_array_equal(open_image(path).read()[0], grey)


def test_values_are_rescaled_as_the_file_says(tmp_path, grey):
    image = open_image(
        write_image(tmp_path / "a.dcm", grey, RescaleSlope="2.0", RescaleIntercept="-1024")
    )
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image.read()[0], 2.0 * grey - 1024)
    assert "rescaled" in image.notes[0]


def test_what_shows_low_values_bright_is_inverted(tmp_path, grey):
    path = write_image(tmp_path / "a.dcm", grey, "MONOCHROME1", BitsStored=12, HighBit=11)
    image = open_image(path)
    np.testing.assert_array_equal(image.read()[0], 4095 - grey)
    assert any("MONOCHROME1" in note for note in image.notes)


def test_signed_values_stay_what_they_are(tmp_path, grey):
    signed = grey.astype(np.int16) - 2000
    image = open_image(write_image(tmp_path / "a.dcm", signed))
    np.testing.assert_array_equal(image.read()[0], signed)


def test_colours_are_red_green_and_blue(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (30, 20, 3)).astype(np.uint8)
    image = open_image(write_image(tmp_path / "a.dcm", pixels, "RGB"))
    assert image.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(image.read().transpose(1, 2, 0), pixels)
    luma = np.zeros((4, 4, 3), np.uint8)
    luma[:] = 76, 85, 255  # pure red
    red = open_image(write_image(tmp_path / "b.dcm", luma, "YBR_FULL")).read()[:, 0, 0]
    np.testing.assert_allclose(red, [255, 0, 0], atol=2)


def test_the_pixel_size_of_one_ultrasound_region_is_known(tmp_path, grey):
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.01
    one, two = pydicom.Sequence([region]), pydicom.Sequence([region, region])
    path = write_image(tmp_path / "a.dcm", grey, SequenceOfUltrasoundRegions=one)
    assert open_image(path).pixel_size == pytest.approx(100)
    path = write_image(tmp_path / "b.dcm", grey, SequenceOfUltrasoundRegions=two)
    assert open_image(path).pixel_size is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 7}, r"holds 7 frames \(it is of the kind Ultrasound Image St"),
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation is HSV"),
        ({"Rows": 60000, "Columns": 60000}, "a.dcm"),
    ],
)
def test_what_is_no_single_image_is_refused(tmp_path, grey, tags, message):
    path = write_image(tmp_path / "a.dcm", grey, **tags)
    with pytest.raises(InputError, match=message):
        open_image(path)


def test_a_report_holds_no_image(tmp_path, grey):
    dataset = pydicom.dcmread(write_image(tmp_path / "a.dcm", grey))
    for name in ("Rows", "Columns", "PixelData", "PhotometricInterpretation"):
        delattr(dataset, name)
    dataset.save_as(tmp_path / "b.dcm")
    with pytest.raises(InputError, match="holds no image"):
        open_image(tmp_path / "b.dcm")


def test_an_unknown_syntax_is_named(tmp_path, grey):
    dataset = pydicom.dcmread(write_image(tmp_path / "a.dcm", grey))
    dataset.PixelData = pydicom.encaps.encapsulate([b"no image at all.."])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
    dataset.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"cannot be decoded \(transfer syntax High-Through"):
        open_image(tmp_path / "b.dcm").read()


def test_a_file_that_was_cut_short_is_damaged(tmp_path, grey):
    path = write_image(tmp_path / "a.dcm", grey)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"a\.dcm: "):
        open_image(path).read()


def test_without_pydicom_the_extra_is_named(tmp_path, grey, monkeypatch):
    path = write_image(tmp_path / "a.dcm", grey)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"abbe\[dicom\]"):
        open_image(path)
    assert images.WHOLE_SLIDE.startswith("1.2.840")


@pytest.fixture
def slide(tmp_path) -> tuple[Path, np.ndarray]:
    """Two levels of one series, and of another a single one, in a folder."""
    pytest.importorskip("openslide")
    random, series = np.random.default_rng(0), (generate_uid(), generate_uid())
    pixels = np.kron(random.integers(60, 240, (10, 13, 3)), np.ones((64, 64, 1)))
    pixels = pixels.astype(np.uint8)[:600, :800]
    write_level(tmp_path / "b.dcm", np.ascontiguousarray(pixels[::2, ::2]), 0.001, series, 2)
    other = (generate_uid(), generate_uid())
    write_level(tmp_path / "c.dcm", pixels[:300, :300], 0.0005, other, 1)
    return write_level(tmp_path / "a.dcm", pixels, 0.0005, series, 1), pixels


def test_a_whole_slide_has_all_levels_of_its_series(slide):
    path, pixels = slide
    for name in ("a.dcm", "b.dcm"):  # whichever instance is named
        found = open_slide(path.with_name(name))
        assert [level.shape for level in found.levels] == [(600, 800), (300, 400)]
        assert found.pixel_size == pytest.approx(0.5)
        assert found.channels == ("red", "green", "blue")
        read = found.levels[0].read().transpose(1, 2, 0)
        assert np.abs(read.astype(int) - pixels).mean() < 2  # JPEG
    assert open_slide(path.with_name("c.dcm")).levels[0].shape == (300, 300)


def test_two_optical_paths_are_refused(slide):
    path, _ = slide
    dataset = pydicom.dcmread(path)
    dataset.NumberOfOpticalPaths = 2
    dataset.save_as(path)
    with pytest.raises(InputError, match="2 optical paths"):
        open_image(path)


@pytest.mark.parametrize("damaged", ["a.dcm", "b.dcm"])
def test_a_level_whose_kind_nobody_understands_is_named(slide, damaged):
    """pydicom looks at a value, and fails, only when it is asked for."""
    path, _ = slide
    whole = path.with_name(damaged).read_bytes()
    assert whole.count(b"\x08\x00\x16\x00UI") == 1
    broken = whole.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00U\xff")
    path.with_name(damaged).write_bytes(broken)
    for ask in (open_image, source_of):
        with pytest.raises(InputError, match=rf"{damaged}: .*Unknown Value Representation"):
            ask(path)


def rewrite(path: Path, **tags: object) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def places(count: int) -> list[Dataset]:
    """Where tiles lie in a slide that is 4 tiles wide."""
    groups = []
    for number in range(count):
        place, group = Dataset(), Dataset()
        place.RowPositionInTotalImagePixelMatrix = 1 + 256 * (number // 4)
        place.ColumnPositionInTotalImagePixelMatrix = 1 + 256 * (number % 4)
        group.PlanePositionSlideSequence = pydicom.Sequence([place])
        groups.append(group)
    return groups


def test_sparse_tiles_are_put_where_they_lie(slide):
    path, _ = slide
    before = open_image(path).read()
    rewrite(
        path, DimensionOrganizationType="TILED_SPARSE", PerFrameFunctionalGroupsSequence=places(12)
    )
    np.testing.assert_array_equal(open_image(path).read(), before)


@pytest.mark.parametrize("known", [[], places(5), [Dataset() for _ in range(12)]])
def test_sparse_tiles_without_a_place_are_refused_whichever_level_is_named(slide, known):
    # OpenSlide 4.0 reads the tiles as glass, and without any group of frames ends the process.
    path, _ = slide
    groups = {"PerFrameFunctionalGroupsSequence": known} if known else {}
    rewrite(path, DimensionOrganizationType="TILED_SPARSE", **groups)
    for name in ("a.dcm", "b.dcm"):
        with pytest.raises(InputError, match=r"a\.dcm: it says of \d of its 12 tiles where"):
            open_image(path.with_name(name))


def test_a_file_that_lacks_its_other_half_is_refused(slide):
    path, _ = slide
    rewrite(
        path, ConcatenationUID="1.2.3", InConcatenationNumber=1, InConcatenationTotalNumber=2,
        ConcatenationFrameOffsetNumber=0, SOPInstanceUIDOfConcatenationSource="1.2.4",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"only one SOP instance in conc.*others of its series"):
        open_image(path)


def test_a_slide_of_an_unknown_syntax_is_refused(slide):
    path, _ = slide
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match=r"Unsupported transfer syntax .*pyramidal TIFF"):
        open_image(path)


def test_pydicom_reads_the_same_tile(slide):
    path, _ = slide
    tile = pixel_array(pydicom.dcmread(path), index=5)
    read = open_image(path).read(Region(256, 256, 512, 512)).transpose(1, 2, 0)
    assert np.abs(read.astype(int) - tile).mean() < 1


def test_a_series_without_its_finest_level_says_so(slide):
    path, _ = slide
    path.unlink()
    image = open_image(path.with_name("b.dcm"))
    assert image.shape == (300, 400)
    assert any("finest level" in note for note in image.notes)


@pytest.mark.parametrize(
    ("steps", "told"), [((1, 2, 4, 8), 0), ((1, 4, 8), 0), ((1, 2, 8), 1), ((1, 8), 1), ((1,), 0)]
)
def test_a_series_that_seems_to_lack_a_level_says_so(tmp_path, steps, told):
    pixels, series = np.full((512, 768, 3), 200, np.uint8), (pydicom.uid.generate_uid(), "1.2.3")
    for number, step in enumerate(steps, 1):
        level = np.ascontiguousarray(pixels[::step, ::step])
        write_level(tmp_path / f"{number}.dcm", level, 0.0005 * step, series, number)
    notes = open_image(tmp_path / "1.dcm").notes
    assert sum("a level between may be missing" in note for note in notes) == told


def test_other_images_need_no_pydicom(tmp_path):
    code = "import abbe.imaging, sys; assert 'pydicom' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
