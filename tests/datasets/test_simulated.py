"""Simulated tissue: determined by its seed, true to its labels, and near a real CODEX tile."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from skimage.measure import label as connected_parts

from abbe.datasets.simulator.simulated import CHANNELS, random_slide, simulated_tissue, tissue
from abbe.datasets.simulator.tissue import Slide, smooth_noise
from abbe.errors import ConfigError

SEEDS = range(6)


@pytest.fixture(scope="module")
def images():
    return [tissue(seed) for seed in SEEDS]


def pieces(labels: np.ndarray) -> int:
    return int(np.asarray(connected_parts(labels, connectivity=1)).max())


def test_same_seed_gives_the_same_pixels(images):
    again = tissue(0)
    for name in ("image", "cells", "nuclei"):
        np.testing.assert_array_equal(getattr(again, name), getattr(images[0], name))


def test_other_seed_gives_other_cells_and_pixels(images):
    assert (images[0].cells != images[1].cells).mean() > 0.5
    assert (images[0].image != images[1].image).mean() > 0.9


def test_shapes_and_types(images):
    for made in images:
        assert made.image.shape == (3, 256, 256)
        assert made.image.dtype == np.uint16
        assert made.cells.shape == made.nuclei.shape == (256, 256)
        assert made.cells.dtype == made.nuclei.dtype == np.int32


def test_the_camera_range_is_used_and_not_flooded(images):
    for channel in range(3):
        pixels = np.stack([made.image[channel] for made in images])
        assert np.percentile(pixels, 99.8) > 8000
        assert (pixels == 65535).mean() < 0.002


def test_cells_are_numbered_without_gaps_and_each_is_one_piece(images):
    for made in images:
        numbers = np.unique(made.cells)
        np.testing.assert_array_equal(numbers, np.arange(made.cells.max() + 1))
        assert pieces(made.cells) == made.cells.max()


def test_nuclei_lie_inside_their_own_cell_and_each_is_one_piece(images):
    for made in images:
        inside = made.nuclei > 0
        np.testing.assert_array_equal(made.nuclei[inside], made.cells[inside])
        assert pieces(made.nuclei) == len(np.unique(made.nuclei)) - 1


def test_nuclei_keep_off_the_membrane(images):
    cells, nuclei = images[0].cells, images[0].nuclei
    for step in (-1, 1):
        for axis in (0, 1):
            beside = np.roll(cells, step, axis)
            core = np.zeros_like(cells, bool)
            core[1:-1, 1:-1] = True
            inside = (nuclei > 0) & core
            np.testing.assert_array_equal(beside[inside], cells[inside])


def test_some_cells_have_no_nucleus(images):
    shares = [1 - (len(np.unique(m.nuclei)) - 1) / m.cells.max() for m in images]
    assert 0.07 < np.mean(shares) < 0.2
    none = tissue(0, slide=Slide(missing_nuclei=1.0))
    assert none.nuclei.max() == 0
    assert none.cells.max() > 50


def test_nuclei_are_off_centre(images):
    cells, nuclei = images[0].cells, images[0].nuclei
    offsets = []
    for number in np.unique(nuclei)[1:]:
        cell = np.argwhere(cells == number)
        if cell.min() == 0 or cell.max() == 255:
            continue
        radius = np.sqrt(len(cell) / np.pi)
        shift = cell.mean(axis=0) - np.argwhere(nuclei == number).mean(axis=0)
        offsets.append(np.hypot(*shift) / radius)
    assert np.median(offsets) > 0.04
    assert max(offsets) > 0.15


def test_statistics_are_near_the_real_tiles(images):
    """The bounds enclose what experts and Mesmer found on two CODEX tiles; docs/simulator.md."""
    areas = np.concatenate([np.bincount(m.cells.ravel())[1:] for m in images])
    lower, median, upper = np.percentile(areas, (25, 50, 75))
    assert 215 < median < 340
    assert 150 < lower < 255
    assert 285 < upper < 450
    assert 0.5 < np.mean([(m.cells > 0).mean() for m in images]) < 0.75
    nucleus = np.concatenate([np.bincount(m.nuclei.ravel(), minlength=2)[1:] for m in images])
    assert 0.4 < nucleus.sum() / areas.sum() < 0.65


def test_each_channel_shows_its_part_of_the_cell(images):
    for made in images:
        nucleus, membrane, cytoplasm = made.image.astype(float)
        cell, core = made.cells > 0, made.nuclei > 0
        assert nucleus[core].mean() > 2 * nucleus[cell & ~core].mean()
        assert nucleus[cell & ~core].mean() > nucleus[~cell].mean()
        assert membrane[cell & ~core].mean() > 1.1 * membrane[core].mean()
        assert cytoplasm[cell].mean() > 1.2 * cytoplasm[~cell].mean()


def test_a_cell_without_nucleus_shows_in_the_other_channels_only(images):
    contrasts = {name: [] for name in CHANNELS}
    for made in images:
        missing = (made.cells > 0) & ~np.isin(made.cells, np.unique(made.nuclei)[1:])
        for name, pixels in zip(CHANNELS, made.image.astype(float), strict=True):
            background = np.median(pixels[made.cells == 0])
            contrasts[name].append(np.median(pixels[missing]) / background)
    # Light spilled by neighbours makes even the nucleus channel a little brighter than background.
    present = [
        np.median(m.image[0][m.nuclei > 0]) / np.median(m.image[0][m.cells == 0]) for m in images
    ]
    assert np.mean(contrasts["nucleus"]) < 0.35 * np.mean(present)
    assert np.mean(contrasts["membrane"]) > 1.3
    assert np.mean(contrasts["cytoplasm"]) > 1.3


def test_unfocused_nuclei_are_dimmer():
    sharp = tissue(3, slide=Slide(unfocused_nuclei=0.0, missing_nuclei=0.0))
    dull = tissue(3, slide=Slide(unfocused_nuclei=1.0, missing_nuclei=0.0))
    np.testing.assert_array_equal(sharp.nuclei, dull.nuclei)
    core = sharp.nuclei > 0
    assert dull.image[0][core].mean() < 0.7 * sharp.image[0][core].mean()


def test_a_channel_does_not_depend_on_the_others_asked_for(images):
    alone = tissue(0, channels=("cytoplasm", "nucleus"))
    np.testing.assert_array_equal(alone.image, images[0].image[[2, 0]])
    np.testing.assert_array_equal(alone.cells, images[0].cells)


def test_fewer_photons_are_noisier():
    def noise(photons: float) -> float:
        pixels = tissue(2, slide=Slide(photons=photons)).image[0].astype(float)
        diagonal = pixels[::2, ::2] - pixels[1::2, ::2] - pixels[::2, 1::2] + pixels[1::2, 1::2]
        return float(np.median(np.abs(diagonal)))

    assert noise(200) > 2 * noise(4000)


def test_other_sizes():
    small = tissue(0, 40)
    assert small.image.shape == (3, 40, 40)
    odd = tissue(0, 131)
    assert odd.cells.shape == (131, 131)


@pytest.mark.slow
def test_a_large_image():
    large = tissue(0, 1024)
    assert large.image.shape == (3, 1024, 1024)
    assert large.cells.max() > 1500
    assert 0.5 < (large.cells > 0).mean() < 0.75


def test_an_empty_slide_is_all_lumen():
    made = tissue(0, slide=Slide(empty=1.0))
    assert (made.cells > 0).mean() < 0.15
    crowded = tissue(0, slide=Slide(empty=0.0, crowding=1.0))
    assert (crowded.cells > 0).mean() > 0.7


def test_smooth_noise_has_unit_variance_everywhere(rng):
    fields = np.stack([smooth_noise(rng, (48, 40), 8.0) for _ in range(800)])
    assert np.abs(fields.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=0.15)


def test_unknown_channel_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"channels.*nucleus, membrane, cytoplasm.*actin"):
        tissue(0, channels=("actin",))
    with pytest.raises(ConfigError, match="channels"):
        tissue(0, channels=())
    with pytest.raises(ConfigError, match="channels"):
        simulated_tissue(2, channels=("nucleus", "nucleus"))


def test_too_small_a_size_is_refused():
    with pytest.raises(ConfigError, match=r"size: 16 px"):
        simulated_tissue(1, size=16)


def test_a_slide_out_of_range_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"missing_nuclei.*0 to 1, not 2"):
        Slide(missing_nuclei=2.0)
    with pytest.raises(ConfigError, match="cell_radius"):
        replace(Slide(), cell_radius=0.0)


def test_random_slides_differ_and_are_determined_by_their_seed():
    assert random_slide(1) == random_slide(1)
    assert random_slide(1) != random_slide(2)
    for seed in range(200):
        random_slide(seed)  # every one is within the limits, or this raises


def test_dataset_says_that_it_is_simulated():
    dataset = simulated_tissue(9, size=64)
    assert dataset.simulated
    assert "simulated" in dataset.name
    assert "simulated" in dataset.licence
    assert all("simulated" in record.id for record in dataset)
    assert len(dataset) == len(set(dataset.ids)) == 9
    assert dataset.channels == CHANNELS


def test_dataset_images_and_labels_belong_together():
    record = simulated_tissue(6, size=96, channels=("membrane",)).records[5]
    image = record.image.open()
    assert record.label is not None
    label = record.label.read()
    assert image.read().shape == (1, 96, 96)
    assert image.channels == ("membrane",)
    assert image.require_pixel_size() == pytest.approx(0.377)
    assert label.shape == (96, 96)
    pixels = image.read()[0].astype(float)
    assert pixels[label > 0].mean() > pixels[label == 0].mean()


def test_dataset_image_does_not_depend_on_how_many_there_are():
    first = simulated_tissue(2, size=64, seed=5).records[1]
    second = simulated_tissue(7, size=64, seed=5).records[1]
    other = simulated_tissue(7, size=64, seed=6).records[1]
    np.testing.assert_array_equal(first.image.open().read(), second.image.open().read())
    assert (first.image.open().read() != other.image.open().read()).any()
    assert first.id == second.id != other.id


def test_changing_what_was_read_does_not_change_the_next_reading():
    record = simulated_tissue(1, size=64).records[0]
    assert record.label is not None
    record.label.read()[:] = 0
    record.image.open().read()[:] = 0
    assert record.label.read().max() > 0
    assert record.image.open().read().max() > 0


def test_nucleus_labels_share_the_cells_numbers():
    cell = simulated_tissue(1, size=96).records[0].label
    nucleus = simulated_tissue(1, size=96, label="nucleus").records[0].label
    assert cell is not None
    assert nucleus is not None
    cells, nuclei = cell.read(), nucleus.read()
    assert 0 < (nuclei > 0).sum() < (cells > 0).sum()
    np.testing.assert_array_equal(nuclei[nuclei > 0], cells[nuclei > 0])
    with pytest.raises(ConfigError, match=r"label.*'cell' and 'nucleus'"):
        simulated_tissue(1, label="membrane")  # type: ignore[arg-type]


def test_four_images_share_a_slide():
    groups = [record.group for record in simulated_tissue(9, size=64)]
    assert groups[0] == groups[3] != groups[4]
    assert groups[4] == groups[7] != groups[8]


def test_records_can_be_sent_to_another_process():
    record = simulated_tissue(1, size=64).records[0]
    again = pickle.loads(pickle.dumps(record))
    assert again == record
    np.testing.assert_array_equal(again.image.open().read(), record.image.open().read())


def test_opening_an_image_simulates_nothing_yet(monkeypatch):
    def fail(*_):
        raise AssertionError("simulated too early")

    record = simulated_tissue(1, size=64, seed=4711).records[0]
    monkeypatch.setattr("abbe.datasets.simulator.simulated.tissue", fail)
    image = record.image.open()
    assert image.shape == (64, 64)
    assert image.channels == CHANNELS
    assert image.dtype == np.uint16
    pickle.dumps(image)


def test_no_images_are_refused():
    with pytest.raises(ConfigError, match="count: 0"):
        simulated_tissue(0)
