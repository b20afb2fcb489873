"""Data sets and target stores in a bucket are those of the folder; stores are read map by map."""

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remote_bucket import Bucket
from written_tissue import write_tissue

import abbe
from abbe import cli, config
from abbe.cluster.shared import Shared
from abbe.datasets import check, folder
from abbe.errors import ClusterError, RemoteError, StoreError
from abbe.imaging.labels.files import write_labels
from abbe.recipes.shipped import values_of
from abbe.remote.folders import worked_on
from abbe.runs import build
from abbe.runs.folder import open_run
from abbe.targets import Provenance, TargetStore, TargetWriter


@pytest.fixture
def tissue(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three images with labels, one of them to test on, as a folder."""
    root = tmp_path / "tissue"
    (root / "images").mkdir(parents=True)
    for name in ("a", "b", "c"):
        np.save(root / "images" / f"{name}.npy", rng.integers(0, 255, (64, 72), np.uint8))
        labels = np.zeros((64, 72), np.int32)
        labels[4:20, 6:22], labels[30:50, 30:60] = 1, 2
        write_labels(root / "labels" / f"{name}.png", labels)
    (root / "index.csv").write_text("id,split\na,train\nb,val\nc,test\n")
    return root


def test_a_data_set_is_that_of_the_folder(bucket: Bucket, tissue: Path) -> None:
    url = bucket.put("sets/tissue", tissue)
    here, there = folder(tissue), folder(url)
    assert (there.name, there.channels, there.notes) == (here.name, here.channels, here.notes)
    assert not there.problems
    for one, other in zip(here, there, strict=True):
        assert (one.id, one.split) == (other.id, other.split)
        assert np.array_equal(one.image.open().read(), other.image.open().read())
        assert one.label is not None
        assert other.label is not None
        assert np.array_equal(one.label.read(), other.label.read())
    assert check(there).to_json() == check(here).to_json()


def test_data_check_takes_a_url_and_names_what_is_not_there(
    bucket: Bucket, tissue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = bucket.put("sets/tissue", tissue)
    assert cli.main(["data", "check", url]) == 0
    assert "3 images" in capsys.readouterr().out
    assert cli.main(["data", "check", f"{url}s"]) == 1
    assert "s3://lab/sets/tissues is not a folder" in capsys.readouterr().err


def test_an_experiment_keeps_urls_as_they_are(bucket: Bucket, tissue: Path, tmp_path: Path) -> None:
    url = bucket.put("sets/tissue", tissue)
    values = {
        "recipe": "cmkd",
        "student": {"encoder_weights": "random"},
        "data": {"path": url, "channels": ["grey"]},
        "teacher": {"kind": "store", "path": "https://ann:WORD@host/t.zarr?sig=0a"},
        "out": "runs/a",
    }
    experiment = config.parse(values, "a test")
    assert len(build.collect(experiment.data)) == 3
    config.save(experiment, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert f"path: {url}\n" in text
    assert "WORD" not in text
    assert "sig=" not in text
    again = config.parse(config.read_saved(tmp_path / "config.yaml"), "again")
    assert again.data == experiment.data


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Forty maps of 64 KB each, in several shards."""
    provenance = Provenance(
        teacher="t", weights_sha256=None, weights_licence="CC0", training_data_licence="CC0",
        channels=("grey",), normalisation="none", sees_labels=False, stand_in=False, notes=(),
        outputs=("foreground",),
    )  # fmt: skip
    path = tmp_path / "targets.zarr"
    with TargetWriter.open(path, provenance) as writer:
        for number in range(40):
            maps = {"probability": rng.random((1, 256, 256), np.float32)}
            writer.append(f"i{number}", maps, image_sha256=f"{number:064x}")
    return path


def test_a_store_is_read_map_by_map(bucket: Bucket, store: Path, tmp_path: Path) -> None:
    url = bucket.put("targets.zarr", store)
    here, there = TargetStore(store), pickle.loads(pickle.dumps(TargetStore(url)))
    assert there.ids == here.ids
    bucket.door.requests.clear()
    for id in ("i0", "i17", "i39"):
        assert np.array_equal(there.read(id, "probability"), here.read(id, "probability"))
    sent = sum(each.sent for each in bucket.door.requests)
    assert sent < 400_000 < sum(each.stat().st_size for each in store.rglob("*") if each.is_file())
    assert not (tmp_path / "cache").exists()  # no copy
    with pytest.raises(StoreError, match="no target store here"):
        TargetStore("s3://lab/other.zarr")
    shard = next(key for key in bucket.names("targets.zarr/probability") if "c.1" in key)
    bucket.client.delete_object(Bucket="lab", Key=shard)
    with pytest.raises(StoreError, match=rf"s3://lab/{shard}: missing; the store is damaged"):
        TargetStore(url).read("i39", "probability")


def teach(*words: str) -> int:
    return cli.main(["teach", "--data.channels", "grey", "--teacher.kind", "masks",
                     "--teacher.input-channels", "grey", *words])  # fmt: skip


def test_a_store_is_taught_into_a_bucket_and_goes_on_elsewhere(
    bucket: Bucket, tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    url = bucket.put("sets/tissue", tissue)
    words = ("--data.path", url, "--teacher.path", f"{url}/labels")
    assert teach("--out", "s3://lab/t.zarr", *words) == 0
    assert teach("--out", str(tmp_path / "t.zarr"), "--data.path", str(tissue), "--teacher.path",
                 str(tissue / "labels")) == 0  # fmt: skip
    there, here = TargetStore("s3://lab/t.zarr"), TargetStore(tmp_path / "t.zarr")
    assert there.ids == here.ids == ("a", "b", "c")
    for id in there.ids:
        assert np.array_equal(there.read(id, "instances"), here.read(id, "instances"))
    assert not [key for key in bucket.names("t.zarr") if ".lock" in key or ".part" in key]

    np.save(tissue / "images" / "d.npy", np.load(tissue / "images" / "a.npy") + 1)
    write_labels(tissue / "labels" / "d.png", np.ones((64, 72), np.int32))
    bucket.put("sets/tissue", tissue)
    monkeypatch.setenv("ABBE_CACHE", str(tmp_path / "another machine"))
    capsys.readouterr()
    assert teach("--out", "s3://lab/t.zarr", *words) == 0
    assert TargetStore("s3://lab/t.zarr").ids == ("a", "b", "c", "d")
    assert "cache/outgoing" not in capsys.readouterr().out


@pytest.mark.slow
def test_workers_teach_into_a_bucket(bucket: Bucket, tissue: Path, tmp_path: Path) -> None:
    url, masks = bucket.put("sets/tissue", tissue), bucket.put("masks", tissue / "labels")
    teacher = {"kind": "masks", "path": masks}
    abbe.teach(teacher, url, "s3://lab/targets.zarr", cluster="local:1", progress=False)
    assert not [name for name in bucket.names() if "/." in name and ".abbe-writer" not in name]
    alone = abbe.teach(teacher, url, tmp_path / "alone.zarr", progress=False)
    there = TargetStore("s3://lab/targets.zarr")
    assert sorted(there.ids) == sorted(alone.ids)
    assert there.provenance == alone.provenance
    for id in alone.ids:
        assert there.entry(id).maps["instances"].array.startswith("parts/")
        assert np.array_equal(there.read(id, "instances"), alone.read(id, "instances"))


def test_a_worker_that_does_not_see_where_results_are_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"a worker does not see this folder.*ABBE_CACHE"):
        Shared(tmp_path / "outgoing" / ".teaching" / "shared-1.pickle").get()


def test_what_was_not_uploaded_goes_on_here_unless_others_went_on(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(text: str) -> None:
        with worked_on("s3://lab/run") as folder:
            (folder / "deep").mkdir(parents=True, exist_ok=True)
            for name in ("log.jsonl", "deep/weights"):
                before = (folder / name).read_text() if (folder / name).exists() else ""
                (folder / name).write_text(before + text)

    written("one ")
    bucket.fail("refused", "weights", method="PUT")
    with pytest.raises(RemoteError, match="run/deep/weights: it may not be written"):
        written("two ")
    assert bucket.get("run/log.jsonl") == b"one "  # it names what is there, and no more
    bucket.door.fault = lambda method, path: None
    written("three ")
    assert bucket.get("run/deep/weights") == bucket.get("run/log.jsonl") == b"one two three "

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("ABBE_CACHE", str(tmp_path / "another machine"))
        written("four ")
    written("five ")
    assert bucket.get("run/deep/weights") == b"one two three four five "
    with worked_on("s3://lab/run") as folder:
        (folder / "log.jsonl").unlink()
    assert bucket.names("run/") == ["run/.abbe-writer", "run/deep/weights"]


def test_changes_are_uploaded_while_the_work_goes_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abbe.remote.folders.UPLOAD_SECONDS", 0.05)
    with worked_on("s3://lab/run") as folder:
        folder.mkdir()
        (folder / "weights").write_text("some")
        deadline = time.monotonic() + 30
        while "run/weights" not in bucket.names("run/"):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("words", [
    ["condense", "s3://lab/tissue"], ["suggest", "s3://lab/run"], ["web", "nuclei", "--out", "s3://lab/site"],
])  # fmt: skip
def test_verbs_that_work_here_alone_say_so(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 1
    assert "takes a file or folder of this machine here, and no URL" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_trained_into_a_bucket_from_a_bucket(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket.put("tissue", write_tissue(tmp_path / "tissue"))
    data = {"path": url, "channels": ["nucleus"], "fractions": [0.5, 0.25, 0.25]}
    keys = {"kind": "masks", "path": f"{url}/labels", "input_channels": ["nucleus"]}
    abbe.teach(keys, data, "s3://lab/targets.zarr", progress=False)
    settings: dict[str, Any] = {
        "student": "unet-mobilenetv3",
        "input_channels": ["nucleus"],
        "encoder_weights": "random",
        "evidence": "quick",
        "progress": False,
        "training": {"steps": 2, "batch_size": 2, "crop": 64, "validate_every": 2, "workers": 0},
    }
    run = abbe.distill("cmkd", data, "s3://lab/targets.zarr", out="s3://lab/run", **settings)
    there = bucket.names("run/")
    assert {"run/summary.json", "run/report.html", "run/config.yaml"} <= set(there)
    assert bucket.get("run/summary.json") == (run.folder / "summary.json").read_bytes()
    config_there = bucket.get("run/config.yaml").decode()
    assert f"path: {url}\n" in config_there
    assert "path: s3://lab/targets.zarr\n" in config_there
    assert not [key for key in bucket.names() if key.startswith("targets.zarr/.l")]

    monkeypatch.setenv("ABBE_CACHE", str(tmp_path / "another machine"))
    source, values = values_of("s3://lab/run")
    assert (str(source), values["out"]) == ("s3://lab/run/config.yaml", "s3://lab/run")
    with worked_on("s3://lab/run") as folder:
        assert open_run(folder).summary == run.summary
        assert open_run(folder).student.read_bytes() == run.student.read_bytes()
