"""Composites, outlines and contact sheets: what colours stand for, and where they land."""

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from abbe.errors import InputError
from abbe.imaging import (
    composite,
    contact_sheet,
    draw_outlines,
    open_image,
    view,
    write_png,
)
from abbe.imaging.pictures.composite import spelled


def test_one_channel_is_grey() -> None:
    picture = composite(np.array([[[0, 0.5, 1]]]), ["nucleus"])
    assert picture.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]


def test_rgb_is_shown_as_it_is(rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 256, (6, 5, 3), np.uint8)
    pixels = rgb.transpose(2, 0, 1) / 255
    np.testing.assert_array_equal(composite(pixels, ("red", "green", "blue")), rgb)
    np.testing.assert_array_equal(composite(pixels[::-1], ("blue", "green", "red")), rgb)


def hue_of(name: str, others: tuple[str, ...] = ("unnamed",)) -> np.ndarray:
    pixels = np.zeros((1 + len(others), 1, 1))
    pixels[0] = 1
    return composite(pixels, (name, *others))[0, 0].astype(int)


def test_channels_glow_in_the_hue_of_their_name() -> None:
    for name in ("nucleus", "DAPI", "Hoechst 33342"):
        assert hue_of(name).argmax() == 2
    for name in ("membrane", "E-cadherin"):
        assert hue_of(name).argmax() == 1
    for name in ("cytoplasm", "Pan-Cytokeratin"):
        assert hue_of(name).argmax() == 0


def test_no_two_channels_look_alike() -> None:
    names = ("DAPI", "DAPI-2", "membrane", "CD3", "CD8", "CD20", "CD45", "cytoplasm")
    hues = {tuple(composite(np.eye(8)[:, :, None], names)[row, 0].tolist()) for row in range(8)}
    assert len(hues) == 8


def test_blending_saturates_gently() -> None:
    names = ("nucleus", "membrane", "cytoplasm")
    both = composite(np.ones((3, 1, 1)), names)[0, 0]
    for index in range(3):
        alone = composite(np.eye(3)[index][:, None, None], names)[0, 0]
        assert (both >= alone).all()
    assert not composite(np.zeros((3, 1, 1)), names).any()


def test_outlines_are_drawn_inside() -> None:
    rgb = np.full((20, 20, 3), 9, np.uint8)
    labels = np.zeros((20, 20), np.int32)
    labels[3:17, 3:17] = 4
    labels[0, 0] = -1
    for thickness in (1, 2, 3):
        drawn = draw_outlines(rgb, labels, (255, 200, 0), thickness)
        expected = labels == 4
        expected[3 + thickness : 17 - thickness, 3 + thickness : 17 - thickness] = False
        np.testing.assert_array_equal((drawn == (255, 200, 0)).all(-1), expected)
        np.testing.assert_array_equal(drawn[~expected], rgb[~expected])
    assert (rgb == 9).all()


def test_contact_sheet_holds_every_picture(rng: np.random.Generator) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255)]
    shapes = [(64, 64), (300, 200), (20, 90), (64, 64), (1, 1)]
    tiles = [np.full((*s, 3), c, np.uint8) for s, c in zip(shapes, colours, strict=True)]
    captions = ["short", "two lines\nof text", "a long caption " * 20, "µm × ± é", ""]
    sheet = np.asarray(contact_sheet(tiles, captions, 3, tile_size=100))
    assert sheet.shape[1] == pytest.approx(3 * 100, abs=40)
    found = {tuple(c) for c in sheet.reshape(-1, 3).tolist()}
    assert found >= set(colours)
    dark = np.all(sheet < 100, axis=-1)  # captions
    assert dark.sum() > 100
    assert not dark[:, :3].any()
    assert not dark[:, -3:].any()


def test_captions_are_spelled_with_letters_that_the_font_has() -> None:
    def drawn(letter: str) -> bytes:
        canvas = PIL.Image.new("L", (40, 40))
        font = PIL.ImageFont.load_default(size=20)
        PIL.ImageDraw.Draw(canvas).text((5, 5), letter, 255, font)
        return canvas.tobytes()

    text = spelled("5 µm² × 0.78–0.84 ± 1 °C · ≥ ½ Größe • café → 核 … “a” ‘b’")
    assert text == "5 um2 x 0.78-0.84 ± 1 °C · >= 1/2 Grosse · cafe -> ? ... “a” ’b’"
    assert drawn("\uffff") not in {drawn(letter) for letter in text}


def test_contact_sheet_makes_itself_square() -> None:
    sheet = contact_sheet([np.zeros((50, 50, 3), np.uint8)] * 9, ["a"] * 9, tile_size=50)
    assert 0.6 < sheet.width / sheet.height < 1.2


def test_pictures_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 channels"):
        composite(np.zeros((3, 4, 4)), ("a", "b"))
    with pytest.raises(InputError, match="do not fit"):
        draw_outlines(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), int), (0, 0, 0))
    with pytest.raises(InputError, match="one caption a tile"):
        contact_sheet([], [])
    with pytest.raises(InputError, match=r"a\.png: a picture is"):
        write_png(tmp_path / "a.png", np.zeros((4, 4, 3)))


def test_write_png(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 256, (6, 5, 3), np.uint8)
    write_png(tmp_path / "new" / "a.png", rgb)
    with PIL.Image.open(tmp_path / "new" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), rgb)
    write_png(tmp_path / "grey.png", rgb[..., 0])
    np.testing.assert_array_equal(open_image(tmp_path / "grey.png").read()[0], rgb[..., 0])


def test_colours_of_photographs_are_shown_as_they_are():
    pink = np.full((3, 4, 4), 0, np.uint8)
    pink[:, :, :2] = np.array([230, 170, 200], np.uint8)[:, None, None]
    picture = view(pink, ("red", "green", "blue"))
    np.testing.assert_array_equal(picture, np.moveaxis(pink, 0, -1))
    turned = view(pink[::-1], ("blue", "green", "red"))
    np.testing.assert_array_equal(turned, picture)


def test_deep_colours_keep_their_hue():
    deep = np.zeros((3, 8, 8), np.uint16)
    deep[:] = np.array([4000, 2000, 1000], np.uint16)[:, None, None]
    assert view(deep, ("red", "green", "blue"))[0, 0].tolist() == [255, 128, 64]


def test_channels_of_a_microscope_are_stretched_each_by_itself():
    dim = np.zeros((2, 10, 10), np.uint8)
    dim[0, 5:], dim[1, :5] = 10, 40
    picture = view(dim, ("nucleus", "membrane"))
    np.testing.assert_array_equal(
        picture, composite((dim > 0).astype(float), ("nucleus", "membrane"))
    )
    half = view(dim, ("nucleus", "membrane"), limits=np.array([[0, 20], [0, 80]], np.float32))
    assert half.max() < picture.max()
