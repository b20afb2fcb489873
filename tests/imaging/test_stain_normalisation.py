"""H&E in the stains of another image: against torchstain, on tiles and levels, and refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_he import PINK, VIOLET, tissue
from PIL import Image as Picture

from abbe.errors import InputError
from abbe.imaging import Image, Region, open_image, slide_of
from abbe.imaging.stain import Stains, as_asked, restained, stains_of, stains_of_image

OTHER = Stains(((0.56, 0.72, 0.41), (0.22, 0.80, 0.56)), (1.97, 1.03))


def test_it_agrees_with_torchstain():
    normalizers = pytest.importorskip("torchstain").normalizers
    other = normalizers.MacenkoNormalizer(backend="numpy")
    target, image = tissue(200, 1, 1.3), tissue(200, 2, 0.8)
    other.fit(target.transpose(1, 2, 0))
    wanted, _, _ = other.normalize(image.transpose(1, 2, 0), stains=False)
    found = restained(image, stains_of(image, "a"), stains_of(target, "b"))
    # torchstain cuts decimals off, which are rounded here.
    assert np.abs(found.transpose(1, 2, 0).astype(int) - wanted).max() <= 1
    assert np.abs(found.astype(int) - image).mean() > 10


def test_stains_are_found_and_an_image_in_its_own_stays_what_it_is():
    image = tissue(300)
    found = stains_of(image, "a")
    for colour, truth in zip(found.colours, (VIOLET, PINK), strict=True):
        assert np.dot(colour, truth) / np.linalg.norm(truth) > 0.95  # no pixel has one stain alone
    assert np.abs(restained(image, found, found).astype(int) - image).max() <= 3


def test_glass_stays_bright_and_does_not_change_what_stains_are_found():
    glass = np.full((3, 300, 900), 244, np.uint8)
    both = np.concatenate([tissue(300), glass], axis=2)
    own, alone = stains_of(both, "a"), stains_of(tissue(300), "a")
    np.testing.assert_allclose(own.most, alone.most, rtol=1e-6)
    assert restained(both, own, OTHER)[:, :, 300:].min() > 230


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    pixels = tissue(2048).transpose(1, 2, 0)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, tile=(256, 256), photometric="rgb", subifds=1)
        file.write(pixels[::2, ::2], tile=(256, 256), photometric="rgb", subfiletype=1)
    return tmp_path / "a.tif"


def test_tiles_and_levels_of_a_slide_have_the_same_stains(slide):
    image = open_image(slide).with_stain(OTHER)
    seen = as_asked(image, stains_of_image(image))
    own = stains_of_image(image)  # from windows
    np.testing.assert_allclose(own.most, stains_of(image.read(), "a").most, rtol=0.02)
    whole = seen.read()
    np.testing.assert_array_equal(whole, restained(image.read(), own, OTHER))
    part = Region(100, 200, 164, 300)
    np.testing.assert_array_equal(seen.read(part, ["blue"])[0], whole[2, 100:164, 200:300])
    levels = slide_of(seen).levels
    assert [level.shape for level in levels] == [(2048, 2048), (1024, 1024)]
    np.testing.assert_array_equal(levels[1].read(), whole[:, ::2, ::2])
    assert (seen.pixel_size, seen.source) == (image.pixel_size, image.source)
    np.testing.assert_array_equal(image.read()[:, :4, :4], tissue(2048)[:, :4, :4])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((3, 64, 64), 240, np.uint8), "too little stained tissue"),
        (tissue(64).astype(np.uint16), "red, green and blue of 8 bits"),
        (np.stack([tissue(64)[0]] * 3), "one stain alone|cannot be told apart"),
    ],
)
def test_what_is_no_stained_tissue_is_refused(pixels, message):
    image = Image.from_array(pixels, ["red", "green", "blue"])
    with pytest.raises(InputError, match=message):
        stains_of_image(image)


def test_a_picture_is_read_as_a_reference(tmp_path):
    Picture.fromarray(tissue(100).transpose(1, 2, 0)).save(tmp_path / "a.png")
    assert stains_of_image(open_image(tmp_path / "a.png")) == stains_of(tissue(100), "a")
