"""abbe predict from a bucket into a bucket: the folder's results, whole, none of them twice."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from remote_bucket import Bucket

from abbe.errors import ConfigError, InputError, PackageError, RemoteError
from abbe.runtime.batch.finished import LOG
from abbe.runtime.batch.many import Outcome
from abbe.runtime.batch.predict_files import predict_files
from abbe.runtime.package import read_package
from abbe.runtime.package.catalogue import catalogue
from abbe.runtime.package.places import shipped

OUT = "s3://lab/out"
RESULTS = ("labels", "table", "zarr")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small images with bright spots, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("scans")
    for name in ("a.tif", "b.png", "deep/c.ome.tif"):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        yy, xx = np.mgrid[:160, :160]
        image = rng.normal(400, 30, (160, 160))
        for y, x in rng.integers(12, 148, (9, 2)):
            image += 3000 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 50)
        pixels = image.clip(0, 65535).astype(np.uint16)
        if file.suffix == ".png":
            import imagecodecs

            file.write_bytes(imagecodecs.png_encode(pixels))
        else:
            tifffile.imwrite(file, pixels, tile=(64, 64), compression="zlib")
    return folder


@pytest.fixture(scope="module")
def expected(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the folder."""
    out = tmp_path_factory.mktemp("expected")
    run(scans, out)
    return out


def run(images: Path | str, out: Path | str) -> Outcome:
    return predict_files("nuclei", [images], out, results=RESULTS, progress=False, threads=1,
                         workers=1, diameter=12)  # fmt: skip


def contents(name: str, data: bytes) -> object:
    """What a result says; a TIFF says when it was made, too."""
    return tifffile.imread(io.BytesIO(data)).tolist() if name.endswith(".tif") else data


def results_in(folder: Path) -> dict[str, object]:
    return {
        (name := file.relative_to(folder).as_posix()): contents(name, file.read_bytes())
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.name != LOG
    }


def results_of(bucket: Bucket) -> dict[str, object]:
    there = {key.removeprefix("out/"): bucket.get(key) for key in bucket.names("out/")}
    return {name: contents(name, data) for name, data in there.items() if name != LOG}


def stems(bucket: Bucket) -> list[str]:
    lines = bucket.get(f"out/{LOG}").splitlines()
    return sorted(json.loads(line)["stem"] for line in lines)


def test_results_are_those_of_the_folder_and_none_is_computed_twice(
    bucket: Bucket, scans: Path, expected: Path, tmp_path: Path
) -> None:
    url = bucket.put("scans", scans)
    outcome = run(f"{url}/", OUT)
    assert not outcome.failed
    assert len(outcome.done) == 3
    assert results_of(bucket) == results_in(expected)  # and nothing else
    assert stems(bucket) == ["a", "b", "deep/c"]
    assert not list((tmp_path / "cache" / "outgoing").iterdir())
    written = [each for each in bucket.door.requests if each.method == "PUT"]
    of_zarr = [each.path for each in written if "a.labels.zarr/" in each.path]
    assert of_zarr[-1].endswith("a.labels.zarr/zarr.json")  # before it, this is no zarr folder

    bucket.door.requests.clear()
    again = run(f"{url}/", OUT)
    assert len(again.kept) == 3
    assert not again.done
    assert not [each for each in bucket.door.requests if each.method == "PUT" and "labels" in
                each.path]  # fmt: skip


def test_a_run_that_ended_goes_on_elsewhere(
    bucket: Bucket, scans: Path, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket.put("scans", scans)
    bucket.fail("refused", "b.csv", method="PUT")
    with pytest.raises(RemoteError, match=r"s3://lab/out/b\.csv: it may not be written"):
        run(url, OUT)
    assert LOG not in bucket.names("out/")

    bucket.door.fault = lambda method, path: None
    monkeypatch.setenv("ABBE_CACHE", str(tmp_path / "another machine"))
    bucket.door.requests.clear()
    outcome = run(url, OUT)
    kept = {Path(each).name for each in outcome.kept}  # c was on its way when b was refused
    assert {"a.tif"} <= kept <= {"a.tif", "c.ome.tif"}
    assert len(outcome.done) == 3 - len(kept)
    assert not [each for each in bucket.door.requests if each.method == "PUT" and "/a." in
                each.path]  # fmt: skip
    assert results_of(bucket) == results_in(expected)
    assert stems(bucket) == ["a", "b", "deep/c"]


def test_what_was_computed_is_delivered_when_the_bucket_is_back(
    bucket: Bucket, scans: Path, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.fail("refused", ".labels.tif", method="PUT")
    with pytest.raises(RemoteError):
        run(scans, OUT)
    bucket.door.fault = lambda method, path: None
    outcome = run(scans, OUT)
    assert [Path(each).name for each in outcome.kept] == ["a.tif"]
    assert results_of(bucket) == results_in(expected)


def test_a_web_server_takes_no_results(bucket: Bucket, scans: Path) -> None:
    with pytest.raises(ConfigError, match="a web server is only read from"):
        run(scans, f"{bucket.address}/lab/out")


def test_a_bucket_that_is_not_there_is_told_before_anything_is_computed(
    bucket: Bucket, scans: Path
) -> None:
    with pytest.raises(RemoteError, match=r"s3://none/.*there is no such bucket"):
        run(scans, "s3://none/out")
    with pytest.raises(InputError, match="There is no bucket 'none', either: check its name"):
        run("s3://none/scans", OUT)
    with pytest.raises(InputError, match="s3://lab/scans: there is no such image or folder"):
        run("s3://lab/scans", OUT)


def test_a_package_is_copied_from_its_bucket(bucket: Bucket, scans: Path, tmp_path: Path) -> None:
    url = bucket.put("packages/mine", shipped()["nuclei"])
    package = read_package(url)
    assert package.folder.is_relative_to(tmp_path / "cache")
    assert package.description == read_package("nuclei").description
    assert [entry.name for entry in catalogue(["s3://lab/packages"]).entries][-1:] == [url]
    bucket.client.delete_object(Bucket="lab", Key="packages/mine/README.md")
    bucket.door.requests.clear()
    assert not (read_package(url).folder / "README.md").exists()
    assert not bucket.door.gets("packages/mine/")  # the copies are still those
    with pytest.raises(PackageError, match="s3://lab/packages/other: holds no package"):
        read_package("s3://lab/packages/other")
