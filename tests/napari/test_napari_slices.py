"""Slices of stacks as images, and where results lie."""

from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from abbe.errors import InputError
from abbe.imaging import Region
from abbe.napari.channels import channels_of
from abbe.napari.slices import (
    all_positions,
    pixel_size_of,
    placement,
    shown_position,
    slice_image,
)

dask_array = pytest.importorskip("dask.array")


def stack(viewer, **arguments) -> Image:
    pixels = np.random.default_rng(0).integers(0, 999, (5, 2, 8, 9)).astype(np.uint16)
    return viewer.add_image(pixels, name="stack", **arguments)


def test_a_slice_is_an_image_with_the_packages_channels(viewer):
    layer = stack(viewer)
    channels = channels_of(layer, 1)[::-1]
    image = slice_image(("nucleus", "membrane"), channels, (3,), 0.5)
    assert (image.shape, image.channels, image.pixel_size) == ((8, 9), ("nucleus", "membrane"), 0.5)
    np.testing.assert_array_equal(image.read(), np.asarray(layer.data)[3, ::-1])
    region = image.read(Region(2, 1, 4, 6), ["membrane"])
    np.testing.assert_array_equal(region[0], np.asarray(layer.data)[3, 0, 2:4, 1:6])


def test_lazy_arrays_are_read_by_region():
    read = []

    def chunk(block_info: Any = None):
        read.append(block_info[None]["chunk-location"])
        return np.ones((10, 10), np.uint8)

    lazy = dask_array.map_blocks(chunk, chunks=((10,) * 6, (10,) * 6), dtype=np.uint8)
    (channel,) = channels_of(Image(lazy, contrast_limits=(0, 1)), None)
    read.clear()
    slice_image(("a",), [channel], (), None).read(Region(12, 31, 18, 39))
    assert read == [(1, 3)]


def pyramid(*shapes: tuple[int, ...]) -> Image:
    levels = [np.full(shape, number, np.uint8) for number, shape in enumerate(shapes)]
    return Image(levels, multiscale=True)


def test_a_pyramid_lends_its_coarser_levels():
    (channel,) = channels_of(pyramid((5, 64, 48), (5, 32, 24), (2, 16, 12)), None)
    image = slice_image(("a",), [channel], (4,), 0.25)
    (level,) = image.coarser()  # the last one has fewer slices
    assert level[0] == (32, 24)
    assert level[1]().read(Region(3, 0, 5, 24), [0]).tolist() == [[[1] * 24] * 2]
    plain = channels_of(Image(np.zeros((5, 64, 48), np.uint8)), None)[0]
    assert slice_image(("a", "b"), [channel, plain], (0,), None).coarser() == []


def test_channels_may_be_of_several_types(viewer):
    one = viewer.add_image(np.full((8, 9), 300, np.uint16))
    other = viewer.add_image(np.full((8, 9), 0.5, np.float32))
    channels = [channels_of(layer, None)[0] for layer in (one, other)]
    pixels = slice_image(("a", "b"), channels, (), None).read()
    assert pixels[:, 0, 0].tolist() == [300, 0.5]


def test_the_slice_shown_is_that_of_the_sliders(viewer):
    layer = stack(viewer, scale=(2, 1, 0.5, 0.5), translate=(10, 0, 0, 0))
    viewer.dims.set_point(0, 16)
    assert shown_position(channels_of(layer, 1)[0], viewer.dims) == (3,)
    viewer.dims.set_current_step(1, 1)
    assert shown_position(channels_of(layer, None)[0], viewer.dims) == (3, 1)
    assert len(all_positions(channels_of(layer, None)[0])) == 10


def test_a_stack_below_others_in_the_viewer_is_found_at_its_own_place(viewer):
    layer = viewer.add_image(np.zeros((5, 8, 9)))
    viewer.add_image(np.zeros((3, 7, 8, 9)))
    viewer.dims.set_current_step(1, 4)
    assert shown_position(channels_of(layer, None)[0], viewer.dims) == (4,)
    viewer.dims.set_current_step(1, 6)
    with pytest.raises(InputError, match="shows no slice of this layer"):
        shown_position(channels_of(layer, None)[0], viewer.dims)


def test_views_of_other_axes_are_refused(viewer):
    (channel,) = channels_of(viewer.add_image(np.zeros((5, 8, 9))), None)
    viewer.dims.ndisplay = 3
    with pytest.raises(InputError, match="in two dimensions"):
        shown_position(channel, viewer.dims)
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(InputError, match="in two dimensions"):
        shown_position(channel, viewer.dims)


@pytest.mark.parametrize(
    ("scale", "units", "size"),
    [
        ((0.5, 0.5), ("um", "um"), 0.5),
        ((250, 250), ("nm", "nm"), 0.25),
        ((0.0005, 0.0005), ("mm", "mm"), 0.5),
        ((0.5, 0.5), None, None),  # no unit: it may be anything
        ((1, 1), None, None),
    ],
)
def test_the_pixel_size_is_that_of_scale_and_unit(viewer, scale, units, size):
    (channel,) = channels_of(viewer.add_image(np.zeros((8, 9)), scale=scale, units=units), None)
    found = pixel_size_of(channel)
    assert found == (None if size is None else pytest.approx(size))


def test_pixels_that_are_not_square_are_refused(viewer):
    layer = viewer.add_image(np.zeros((8, 9)), scale=(0.5, 0.7), units=("um", "um"))
    with pytest.raises(InputError, match=r"0\.7 µm wide and 0\.5 µm high"):
        pixel_size_of(channels_of(layer, None)[0])


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_results_lie_over_their_slice(viewer, axis, turned):
    """Every corner of the result is where the same pixel of the image is."""
    arguments = {"scale": (3, 2, 0.5, 0.25), "translate": (7, 1, -4, 20)}
    if turned:
        affine = np.eye(5)
        affine[2:4, 2:5] = [[0.8, -0.6, 3], [0.6, 0.8, -5]]
        arguments |= {"affine": affine}
    layer = stack(viewer, **arguments)
    channel = channels_of(layer, axis)[0]
    first = (1,) * (len(channel.shape) - 2)
    labels = viewer.add_labels(
        np.zeros((*(1 for _ in first), 8, 9), int), **placement(channel, first)
    )
    kept = list(channel.axes)
    for row, column in [(0, 0), (7, 0), (0, 8), (7, 8)]:
        there = np.zeros(4)
        there[kept] = (*first, row, column)
        expected = np.array(layer.data_to_world(there))[kept]
        found = labels.data_to_world((*(0 for _ in first), row, column))
        np.testing.assert_allclose(found, expected)
