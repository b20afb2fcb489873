"""Plates of OME-Zarr through a package: each field of view has results of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from made_packages import blobs, make_package
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata

from abbe.cli import main
from abbe.errors import InputError
from abbe.imaging import open_image, read_labels
from abbe.runtime.batch.find_images import find_images

FIELDS = {"A1_0": 1, "A1_1": 2, "B2_0": 3}
"""By name, the seed of each field's picture."""


def write_plate(path: Path, fmt: Any) -> Path:
    plate = zarr.create_group(path, zarr_format=fmt.zarr_format)
    write_plate_metadata(plate, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=fmt)
    wells: dict[str, list[str | dict[str, Any]]] = {"A/1": ["0", "1"], "B/2": ["0"]}
    for well, fields in wells.items():
        group = plate.require_group(well)
        write_well_metadata(group, fields, fmt=fmt)
        for field in fields:
            name = well.replace("/", "") + f"_{field}"
            write_image(
                blobs(90, 80, seed=FIELDS[name]),
                group.require_group(str(field)),
                fmt=fmt,
                axes="yx",
                scale_factors=None,
            )
    return path


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])
def test_fields_of_a_plate_have_results_of_their_own(tmp_path, capsys, fmt):
    package = make_package(tmp_path / "package")
    plate = write_plate(tmp_path / "plate.zarr", fmt)
    out = tmp_path / "out"
    assert main(["predict", str(package), str(plate), "--out", str(out)]) == 0
    assert sorted(file.name for file in out.glob("*.labels.tif")) == [
        f"{name}.labels.tif" for name in FIELDS
    ]
    for name in FIELDS:
        field = plate / name[0] / name[1] / name[3]
        one = tmp_path / "one"
        assert main(["predict", str(package), str(field), "--out", str(one)]) == 0
        expected = read_labels(one / f"{name}.labels.tif")
        np.testing.assert_array_equal(read_labels(out / f"{name}.labels.tif"), expected)
        assert expected.max() >= 3
    assert open_image(plate / "B" / "2" / "0").name == "B2_0"


def test_fields_are_found_however_they_are_named(tmp_path):
    plate = write_plate(tmp_path / "in" / "plate.zarr", FormatV05())
    fields = {plate / "A" / "1" / "0": "A1_0", plate / "A" / "1" / "1": "A1_1",
              plate / "B" / "2" / "0": "B2_0"}  # fmt: skip
    assert find_images([plate]) == {field: Path(name) for field, name in fields.items()}
    assert find_images([f"{plate}/*/*/[0-9]"]) == find_images([plate])
    assert find_images(list(fields)) == find_images([plate])
    within = find_images([tmp_path / "in"])
    assert within == {field: Path("plate") / name for field, name in fields.items()}
    (plate / "A" / "1" / "zarr.json").unlink()
    with pytest.raises(InputError, match=r"plate\.zarr: the plate's metadata does not say which"):
        find_images([plate])
