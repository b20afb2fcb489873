"""Promptable packages in napari: shapes and points ask for objects."""

from typing import Any

import numpy as np
import pytest
from prompt_package import RADIUS, make_prompt_package

from abbe.errors import InputError
from abbe.imaging import Image
from abbe.napari.channels import Channel
from abbe.napari.prompting import outline, prompts_in
from abbe.napari.slices import slice_image
from abbe.runtime.package import read_package
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.predictors.promptable import PromptablePredictor

RECTANGLE = np.array([[10, 20], [10, 44], [30, 44], [30, 20]])


@pytest.fixture
def layers() -> Any:
    from napari import layers

    return layers


@pytest.fixture
def clicks(tmp_path, make_package):
    return make_prompt_package(make_package, tmp_path / "clicks")


def channel_of(layers, pixels, **place) -> Channel:
    layer = layers.Image(pixels, name="cells", **place)
    return Channel(layer, layer.name)


def test_shapes_are_boxes(layers):
    image = channel_of(layers, np.zeros((64, 80)))
    shapes = layers.Shapes([RECTANGLE, RECTANGLE + np.array([-20, 30])], name="drawn")
    first, second = prompts_in(shapes, image, ())
    assert first.box == (20, 10, 44, 30)
    assert second.box == (50, 0, 74, 10)  # what lies on the image of it
    assert (first.points, first.name) == ([], "drawn, shape 0")


def test_shapes_beside_the_image_are_refused_by_name(layers):
    image = channel_of(layers, np.zeros((64, 80)))
    shapes = layers.Shapes([RECTANGLE, RECTANGLE + 100], name="drawn")
    with pytest.raises(InputError, match="drawn, shape 1: lies outside the image"):
        prompts_in(shapes, image, ())


def test_layers_may_be_scaled_and_moved_against_each_other(layers):
    image = channel_of(layers, np.zeros((64, 80)), scale=(0.5, 0.5), translate=(10, 0))
    shapes = layers.Shapes([RECTANGLE], scale=(0.25, 0.25), translate=(11, 1))
    (prompt,) = prompts_in(shapes, image, ())
    assert prompt.box == (2 + 10, 2 + 5, 2 + 22, 2 + 15)


def test_every_point_is_an_object_or_what_the_features_say(layers):
    image = channel_of(layers, np.zeros((64, 80)))
    places = np.array([[5, 6], [7.5, 8], [63.4, -0.4]])
    alone = prompts_in(layers.Points(places), image, ())
    assert [prompt.points for prompt in alone] == [[(6, 5)], [(8, 7.5)], [(0, 63)]]
    assert all(prompt.labels == [1] and prompt.box is None for prompt in alone)
    features = {"object": ["a", "b", "a"], "positive": [1, 1, 0]}
    first, second = prompts_in(layers.Points(places, features=features), image, ())
    assert (first.points, first.labels) == ([(6, 5), (0, 63)], [1, 0])
    assert (second.points, second.labels) == ([(8, 7.5)], [1])
    with pytest.raises(InputError, match=r"point 2: 'positive' is 2; 1 \(inside\) or 0"):
        prompts_in(layers.Points(places, features={"positive": [1, 0, 2]}), image, ())


def test_only_the_slice_shown_is_asked_about(layers):
    image = channel_of(layers, np.zeros((3, 64, 80)), scale=(2, 1, 1))
    flat = layers.Points([[5, 6]])
    assert len(prompts_in(flat, image, (1,))) == 1
    deep = layers.Points([[0, 5, 6], [1, 7, 8]], scale=(2, 1, 1))
    (prompt,) = prompts_in(deep, image, (1,))
    assert prompt.points == [(8, 7)]
    assert prompts_in(deep, image, (2,)) == ()


def test_the_axis_of_channels_is_no_slice(layers):
    layer = layers.Image(np.zeros((2, 64, 80)), name="cells")
    image = Channel(layer, "cells", axis=0, index=1)
    points = layers.Points([[0, 5, 6], [1, 7, 8]])
    assert [prompt.points for prompt in prompts_in(points, image, ())] == [[(6, 5)], [(8, 7)]]


def test_objects_are_where_they_were_asked_for(layers, clicks):
    channel = channel_of(layers, np.random.default_rng(0).random((64, 64)))
    image = slice_image(["nucleus"], [channel], (), None)
    prompts = [
        ObjectPrompt("box", box=(4, 8, 20, 24)),
        ObjectPrompt("point", points=[(44.0, 40.0)], labels=[1]),
    ]
    told: list[float] = []
    labels = outline(read_package(clicks), image, prompts, told.append).read()
    expected = np.zeros((64, 64), int)
    expected[8:24, 4:20] = 1
    rows, columns = np.mgrid[:64, :64] + 0.5
    expected[(rows - 40) ** 2 + (columns - 44) ** 2 < RADIUS**2] = 2
    assert set(np.unique(labels)) == {0, 1, 2}
    for number in (1, 2):  # the decoder answers at a quarter of the size
        shared = ((labels == number) & (expected == number)).sum()
        assert shared > 0.75 * ((labels == number) | (expected == number)).sum()
    assert sum(told) == pytest.approx(1)


def test_points_that_are_all_outside_ask_for_nothing(layers, clicks):
    channel = channel_of(layers, np.zeros((64, 64)))
    points = layers.Points([[9, 9]], name="clicks", features={"positive": [0]})
    prompts = prompts_in(points, channel, ())
    image = slice_image(["nucleus"], [channel], (), None)
    with pytest.raises(InputError, match="clicks, point 0: every point lies outside the object"):
        outline(read_package(clicks), image, prompts, lambda share: None)


def test_a_grey_image_fills_the_colours_that_a_package_sees(layers, tmp_path, make_package):
    package = make_prompt_package(make_package, tmp_path / "colour", ("red", "green", "blue"))
    pixels = np.random.default_rng(0).integers(0, 90, (64, 64), np.uint8)
    ready = PromptablePredictor(package)
    ready.set_image(pixels)
    expected = ready.get_image_embedding()
    ready.set_channels(Image.from_array(pixels))
    np.testing.assert_array_equal(ready.get_image_embedding(), expected)
    with pytest.raises(InputError, match="the package sees red, green, blue"):
        ready.set_channels(Image.from_array(np.stack([pixels] * 2)))
