"""npy and npz: layouts, keys, damage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abbe.errors import InputError
from abbe.imaging import bounds, open_image


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "f4", "f2", "?"])
def test_dtypes_and_orders(
    tmp_path: Path, rng: np.random.Generator, dtype: str, order: Any
) -> None:
    array = np.asarray(rng.integers(0, 2, (3, 20, 10)).astype(dtype), order=order)
    np.testing.assert_array_equal(open_image(save(tmp_path / "a.npy", array)).read(), array)


@pytest.mark.parametrize(
    ("shape", "channels", "count"),
    [
        ((20, 30, 2), None, 2),
        ((2, 20, 30), None, 2),
        ((3, 3, 3), None, 3),
        ((1, 20, 30), None, 1),
        ((20, 30, 1), None, 1),
        ((1, 2, 20, 30), None, 2),
        ((5, 20, 4), ("a",) * 5, 5),
    ],
)
def test_layouts(
    tmp_path: Path, shape: tuple[int, ...], channels: tuple[str, ...] | None, count: int
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    names = channels and tuple(f"c{i}" for i in range(len(channels)))
    opened = open_image(save(tmp_path / "a.npy", array), channels=names)
    assert len(opened.channels) == count
    axis = [i for i, size in enumerate(shape) if size == count][0 if count > 1 else -1]
    expected = np.moveaxis(array, axis, 0) if count > 1 else array
    np.testing.assert_array_equal(opened.read(), expected.reshape(count, *opened.shape))


@pytest.mark.parametrize("shape", [(2, 3, 20, 30), (70, 80, 90), (20,), (0, 20)])
def test_shapes_that_are_not_an_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"a\.npy: .*shape"):
        open_image(save(tmp_path / "a.npy", np.zeros(shape)))


def test_npz_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, pixels=np.ones((4, 4)))
    assert open_image(path).read().sum() == 16
    np.savez(path, image=np.ones((4, 4)), labels=np.zeros((4, 4)))
    assert open_image(path).read().sum() == 16
    np.savez(path, first=np.ones((4, 4)), second=np.zeros((4, 4)))
    with pytest.raises(
        InputError, match=r"a\.npz: the npz holds 2 arrays \(first, second\).*'image'"
    ):
        open_image(path)
    np.savez(path)
    with pytest.raises(InputError, match=r"a\.npz: the npz holds no array"):
        open_image(path)


def test_no_pickles(tmp_path: Path) -> None:
    array = np.array([[{}, {}], [{}, {}]], object)
    np.savez(tmp_path / "a.npz", array)
    for path in (save(tmp_path / "a.npy", array), tmp_path / "a.npz"):
        with pytest.raises(InputError, match=path.name):
            open_image(path).read()


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_truncated(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    path = tmp_path / name
    array = rng.random((3, 40, 40))
    np.save(path, array) if name == "a.npy" else np.savez_compressed(path, array)
    data = path.read_bytes()
    for part in (0.01, 0.5, 0.99):
        path.write_bytes(data[: max(10, int(len(data) * part))])
        with pytest.raises(InputError, match=f"{name}: the file is damaged, truncated"):
            open_image(path).read()


def test_npz_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.zeros((1000, 1000)))
    monkeypatch.setattr(bounds, "LARGEST_READ", 100_000)
    with pytest.raises(InputError, match=r"a\.npz: .* GiB would have to be decoded at once"):
        open_image(path)
