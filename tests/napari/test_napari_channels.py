"""Which layer or part of a layer is which channel."""

import numpy as np
import pytest
from napari.layers import Image

from abbe.napari.channels import assign, channel_axes, channels_of, choices, likely_axis


def layer(*shape: int, name: str = "cells", **arguments) -> Image:
    return Image(np.zeros(shape, np.uint16), name=name, **arguments)


@pytest.mark.parametrize(
    ("image", "wanted", "axis"),
    [
        (layer(8, 9), 2, None),
        (layer(2, 8, 9), 2, 0),
        (layer(5, 8, 9), 2, None),  # more likely a stack
        (layer(5, 2, 8, 9), 2, None),
        (layer(5, 2, 8, 9, axis_labels=("z", "c", "y", "x")), 2, 1),
        (layer(8, 9, 4, axis_labels=("y", "x", "Channel")), 1, 2),
        (layer(5, 2, 8, 9, metadata={"Channel names": ["a", "b"]}), 1, 1),
        (Image(np.zeros((8, 9, 3), np.uint8), rgb=True), 3, 2),
    ],
)
def test_the_axis_of_channels_is_guessed_where_something_tells_it(image, wanted, axis):
    assert likely_axis(image, wanted) == axis
    assert axis in channel_axes(image)


def test_channels_have_the_names_that_a_reader_left():
    image = layer(2, 8, 9, metadata={"channel_names": ["DAPI", "WGA"]})
    first, second = channels_of(image, 0)
    assert (first.name, second.title) == ("DAPI", "cells: WGA")
    assert [each.name for each in channels_of(layer(2, 8, 9), 0)] == ["channel 0", "channel 1"]
    colours = Image(np.zeros((8, 9, 4), np.uint8), rgb=True)
    assert [each.name for each in channels_of(colours, 2)] == ["red", "green", "blue"]


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_a_channel_is_read_wherever_its_axis_is(axis):
    pixels = np.random.default_rng(0).integers(0, 99, (3, 4, 8, 9))  # channel, z, y, x
    image = Image(np.moveaxis(pixels, 0, axis))
    for index, channel in enumerate(channels_of(image, axis)):
        assert channel.shape == (4, 8, 9)
        part = channel.read((2,), slice(1, 5), slice(0, 9))
        np.testing.assert_array_equal(part, pixels[index, 2, 1:5])


def test_of_a_pyramid_the_finest_level_is_read():
    pixels = np.arange(64 * 48).reshape(64, 48)
    image = Image([pixels, pixels[::2, ::2]], multiscale=True)
    (channel,) = channels_of(image, None)
    assert channel.shape == (64, 48)
    np.testing.assert_array_equal(channel.read((), slice(3, 5), slice(0, 48)), pixels[3:5])


def test_other_layers_of_the_same_size_may_be_channels():
    image = layer(2, 8, 9)
    fitting, small = layer(8, 9, name="membrane"), layer(4, 9)
    colours = Image(np.zeros((8, 9, 3), np.uint8), rgb=True)
    found = choices(image, 0, [image, fitting, small, colours])
    assert [each.title for each in found] == ["cells: channel 0", "cells: channel 1", "membrane"]


def assigned(wanted: tuple[str, ...], image: Image, axis: int | None, *others: Image):
    found = assign(wanted, choices(image, axis, [image, *others]))
    return [None if each is None else each.title for each in found]


def test_channels_are_assigned_by_name_then_in_order():
    named = layer(2, 8, 9, metadata={"channels": ["Membrane", "nucleus (DAPI)"]})
    assert assigned(("nucleus", "membrane"), named, 0) == [
        "cells: nucleus (DAPI)",
        "cells: Membrane",
    ]
    in_order = assigned(("nucleus", "membrane"), layer(2, 8, 9), 0)
    assert in_order == ["cells: channel 0", "cells: channel 1"]


def test_layers_that_were_split_by_channel_are_found_by_name():
    nucleus, membrane = layer(8, 9, name="a nucleus"), layer(8, 9, name="a membrane")
    assert assigned(("nucleus", "membrane"), membrane, None, nucleus) == ["a nucleus", "a membrane"]
    assert assigned(("nucleus",), membrane, None, nucleus) == ["a membrane"]  # that was chosen


def test_what_is_not_clear_is_left_to_the_user():
    assert assigned(("nucleus", "membrane"), layer(8, 9), None) == [None, None]
    twice = layer(3, 8, 9, metadata={"channels": ["nucleus 1", "nucleus 2", "membrane"]})
    assert assigned(("nucleus", "membrane"), twice, 0) == [None, "cells: membrane"]


def test_a_layer_that_was_not_chosen_is_not_searched_instead():
    """It may show another sample, whatever it is called."""
    colours = Image(np.zeros((8, 9, 3), np.uint8), rgb=True, name="HE")
    other = layer(8, 9, name="nucleus of another")
    assert assigned(("nucleus",), colours, 2, other) == [None]
    membrane = layer(8, 9, name="membrane")
    nucleus = layer(8, 9, name="nucleus")
    assert assigned(("nucleus", "membrane"), nucleus, None, membrane) == ["nucleus", "membrane"]
