"""What the page computes is what `abbe predict` computes, pixel by pixel."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage
from twins import Cases

from abbe.imaging import Image, class_colour
from abbe.imaging.scaling import Scaling
from abbe.object_types import type_maps
from abbe.runtime.package import InstanceRule, Thresholds
from abbe.runtime.postprocess.calibration import calibrated
from abbe.runtime.postprocess.instances import instances_from_maps
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.one_part import numbering_of_parts
from abbe.runtime.tiling.sampling import read_window
from abbe.runtime.tiling.tiles import find_objects
from abbe.runtime.tiling.work import Work
from abbe.serve.coco import counts_of


def maps_of(random: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Random probabilities: smooth, with plateaus of equal values, or without any order."""
    kind = random.integers(4)
    noise = random.random((count, *shape))
    if kind < 3:
        sigma = random.uniform(0.7, 4)
        noise = ndimage.gaussian_filter(noise, (0, sigma, sigma))
        noise = (noise - noise.min()) / max(np.ptp(noise), 1e-9)
    if kind == 1:
        noise = np.round(noise * 12) / 12  # ties
    if kind == 2:
        noise[0] = noise[0] > np.quantile(noise[0], 0.6)
    return noise.astype(np.float32)


def description_of(divisor: int, tile: int, halo: int, context: int) -> dict[str, int]:
    return {"divisor": divisor, "tile": tile, "halo": halo, "context": context}


def test_objects_of_random_maps_are_pythons_pixel_by_pixel(tmp_path):
    random, cases, expected = np.random.default_rng(20), Cases(tmp_path), []
    for number in range(160):
        height, width = random.integers(1, 120, 2).tolist()
        foreground, boundary = maps_of(random, (height, width), 2)
        threshold, edge = (float(np.round(x, 2)) for x in random.uniform(0.3, 0.7, 2))
        least = int(random.choice([1, 6, 16]))
        with_boundary = number % 2 == 0
        cases.add(
            "instances", width=width, height=height, minimumArea=least,
            thresholds={"foreground": threshold, "boundary": edge},
            foreground=cases.array(foreground),
            boundary=cases.array(boundary) if with_boundary else None,
        )  # fmt: skip
        expected.append(
            instances_from_maps(
                foreground, boundary if with_boundary else None, threshold=threshold,
                boundary_threshold=edge, minimum_area=least,
            )
        )  # fmt: skip
    for number, (found, wanted) in enumerate(zip(cases.answers(np.int32), expected, strict=True)):
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, err_msg=str(number))
    assert sum(each.max() for each in expected) > 2000
    assert sum(each.max() == 0 for each in expected) < 20


@pytest.mark.parametrize("seed", range(12))
def test_objects_of_tiles_are_joined_and_brought_back_as_python_does(tmp_path, seed):
    random, cases = np.random.default_rng(seed), Cases(tmp_path)
    shape = tuple(random.integers(60, 330, 2).tolist())
    scale = float(random.choice([1.0, 0.6, 1.7, 2.4]))
    divisor, count = int(random.choice([1, 8])), 1 + seed % 2
    halo, context = divisor * int(random.integers(1, 24)), divisor * int(random.integers(0, 3))
    tile = 2 * context + divisor * int(random.integers(24 // divisor, 120 // divisor))
    grid = Grid.of((shape[0], shape[1]), scale, divisor, tile, halo, context)
    outputs = ("foreground", "boundary")[:count]
    if seed % 3 == 0:
        outputs += type_maps(["tumour", "other"])
    maps = maps_of(random, grid.shape, len(outputs))
    threshold, least = float(np.round(np.quantile(maps[0], 0.6), 3)), int(random.choice([1, 9]))
    ends = grid.rows[-1].stop, grid.columns[-1].stop
    pads = [(0, max(end - side, 0)) for end, side in zip(ends, grid.shape, strict=True)]
    padded = np.pad(maps, ((0, 0), *pads), mode="symmetric")

    def window_of(tile: Tile) -> np.ndarray:
        top, left, bottom, right = grid.window(tile)
        return padded[:, top:bottom, left:right]

    thresholds = Thresholds(foreground=threshold, boundary=0.45)
    # Packages of format 6 may have one: objects stay, what is told of them changes.
    temperature = [float(random.uniform(0.3, 4))] * len(outputs) if seed % 2 else []
    rule = MapRule(outputs, thresholds, InstanceRule(minimum_area=least), tuple(temperature))
    work = Work(None)
    with ThreadPoolExecutor(1) as pool:
        labels = Labels(grid, find_objects(grid, window_of, rule, work, pool, workers=1), work)
        if grid.coarser_image:
            labels = labels.of_parts(numbering_of_parts(labels, pool, 2, minimum_area=least))
    cases.add(
        "objects", shape=shape, scale=scale, maps=[cases.array(each) for each in maps[:count]],
        types=[cases.array(each) for each in maps[count:]],
        description=description_of(divisor, tile, halo, context),
        rule={"thresholds": {"foreground": threshold, "boundary": 0.45}, "minimumArea": least},
        temperature=temperature[0] if temperature else None,
    )  # fmt: skip
    [found] = cases.answers(np.int32)
    wanted = labels.read()
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    assert wanted.max() > 1
    numbering = labels.numbering
    assert numbering.confidence is not None
    told = [numbering.confidence, *(numbering.types.T if numbering.types is not None else ())]
    assert len(told) == 1 + len(maps) - count
    means = np.frombuffer((tmp_path / "confidence.out").read_bytes()).reshape(len(told), -1)
    np.testing.assert_allclose(means[:, 1:], np.stack(told)[:, 1:], rtol=1e-6)


def test_temperatures_tell_what_python_tells(tmp_path):
    random, cases, expected = np.random.default_rng(6), Cases(tmp_path), []
    for number in range(60):
        exclusive, temperature = number % 2 == 1, float(random.uniform(0.1, 9))
        logits = random.normal(size=(int(random.integers(2, 9)), 50)) * random.choice([1, 20, 200])
        values = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        if exclusive:  # the classes of one tile
            values = np.exp(logits[:, 0] - logits[:, 0].max())
            values /= values.sum()
        values = values.astype(np.float32)  # 0 and 1 among them
        told = [temperature] if exclusive else [temperature] * len(values)
        expected.append(calibrated(values, told, exclusive=exclusive))
        cases.add(
            "calibrated", probabilities=cases.array(values), temperature=temperature,
            exclusive=exclusive,
        )  # fmt: skip
    for found, wanted in zip(cases.answers(np.float32), expected, strict=True):
        np.testing.assert_allclose(found, wanted.ravel(), rtol=2e-5, atol=1e-7)
        assert found.reshape(wanted.shape).argmax() == wanted.argmax()


def test_objects_that_are_saved_have_the_run_lengths_of_coco(tmp_path):
    random, cases, expected = np.random.default_rng(7), Cases(tmp_path), []
    for _ in range(40):
        shape = tuple(random.integers(1, 30, 2).tolist())
        labels = random.integers(0, 4, shape).astype(np.int32)
        labels[:, random.random(shape[1]) < 0.3] = 1  # whole columns, which runs go through
        labels = np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)
        cases.add("runs", labels=cases.array(labels), width=shape[1], height=shape[0])
        expected.append(labels)
    for found, labels in zip(cases.answers(np.int32), expected, strict=True):
        np.testing.assert_array_equal(found[: labels.size].reshape(labels.shape), labels)
        rest = found[labels.size :].tolist()
        for number in range(1, labels.max() + 1):
            length = rest.pop(0)
            counts, rest = rest[:length], rest[length:]
            wanted = counts_of(labels == number)
            assert counts[: len(wanted)] == wanted
            assert not any(counts[len(wanted) :])
        assert rest == []


PIXELS = {
    "few bytes": lambda random: random.integers(0, 256, (2, 40, 50), np.uint8),
    "many bytes": lambda random: random.integers(3, 90, (2, 300, 400), np.uint8),
    "many words": lambda random: random.integers(0, 65536, (1, 300, 301), np.uint16),
    "few words": lambda random: random.integers(0, 65536, (1, 30, 31), np.uint16),
    "floats": lambda random: random.normal(size=(2, 60, 70)).astype(np.float32),
    "flat but for a few": lambda random: np.uint16(np.arange(90000).reshape(1, 300, 300) > 89990),
    "constant": lambda random: np.full((1, 300, 300), 7, np.uint8),
    "larger than is sampled": lambda random: random.integers(0, 999, (1, 4200, 4100), np.uint16),
}  # fmt: skip


@pytest.mark.parametrize("kind", PIXELS)
def test_limits_are_pythons_to_the_last_bit(tmp_path, kind):
    pixels, cases = PIXELS[kind](np.random.default_rng(3)), Cases(tmp_path)
    names = [f"c{i}" for i in range(len(pixels))]
    normalisation = {"kind": "percentile", "low": 1.0, "high": 99.8}
    cases.add(
        "limits", planes=[cases.array(each) for each in pixels], width=pixels.shape[2],
        height=pixels.shape[1], normalisation=normalisation,
    )  # fmt: skip
    [found] = cases.answers(np.float64)
    wanted = Scaling().image_limits(Image.from_array(pixels, names, None))
    np.testing.assert_array_equal(found.reshape(-1, 2).astype(np.float32), wanted)


@pytest.mark.parametrize("scale", [1.0, 0.37, 0.5, 1.6, 3.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_network_sees_the_same_windows(tmp_path, scale, dtype):
    random, cases = np.random.default_rng(5), Cases(tmp_path)
    pixels = (random.random((2, 97, 131)) * 250).astype(dtype)
    limits = np.array([[3, 240], [10, 200]], np.float32)
    grid = Grid.of((97, 131), scale, 16, 64, 16, 16)
    image = Image.from_array(pixels, ["a", "b"], None)
    wanted = [
        read_window(image, ("a", "b"), limits, grid, grid.window(tile)).ravel()
        for tile in grid.tiles
    ]
    cases.add(
        "windows", shape=(97, 131), scale=scale, planes=[cases.array(each) for each in pixels],
        limits=limits.tolist(), description=description_of(16, 64, 16, 16),
    )  # fmt: skip
    [found] = cases.answers(np.float32)
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=0, atol=2e-7)


@pytest.mark.parametrize("size", [(40, 30), (90, 31), (17, 120), (61, 83)])
def test_pictures_of_bytes_are_resized_as_pillow_does(tmp_path, size):
    plane, cases = np.random.default_rng(1).integers(0, 256, (83, 61), np.uint8), Cases(tmp_path)
    cases.add(
        "bytes", plane=cases.array(plane), width=61, height=83, newWidth=size[0], newHeight=size[1]
    )
    [found] = cases.answers(np.uint8)
    wanted = PIL.Image.fromarray(plane).resize(size, PIL.Image.Resampling.BILINEAR)
    # Pillow rounds between its two steps, and its versions differ in which comes first.
    difference = found.reshape(size[::-1]).astype(int) - np.asarray(wanted)
    assert abs(difference).max() <= 1


def test_classes_have_the_colours_that_they_have_everywhere(tmp_path):
    cases = Cases(tmp_path)
    cases.add("colours", count=200)
    [found] = cases.answers(np.uint8)
    np.testing.assert_array_equal(found.reshape(-1, 3), [class_colour(n) for n in range(200)])
