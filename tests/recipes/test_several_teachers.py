"""A student of several teachers: by command line, file and Python, to the package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import TINY, TISSUE, abbe, tissue, told

import abbe as package
from abbe import config, losses
from abbe.datasets.training.batches import Batch
from abbe.recipes.terms import probability_term, target_boundary_term
from abbe.runs.folder import open_run
from abbe.targets import Provenance, TargetStore, TargetWriter

pytestmark = pytest.mark.slow


def store_of(path: Path, error: float, seed: int) -> Path:
    """A teacher that knows the truth but for so much noise."""
    licence = f"licence of {path.stem}"
    provenance = Provenance(path.stem, None, licence, "CC0", ("nucleus",), "none")
    data = config.Data(kind="simulated", count=16, size=64, seed=5, fractions=(0.25, 0.25, 0.5))
    from abbe.runs import build

    truth = build.build_dataset(data)
    with TargetWriter.open(path, provenance) as writer:
        for number, record in enumerate(truth):
            assert record.label is not None
            mask = (record.label.read() > 0).astype(np.float32)
            noise = np.random.default_rng([seed, number]).random(mask.shape, np.float32)
            maps = (0.5 + 0.6 * (mask - 0.5) + error * (noise - 0.5))[None]
            digest = record.image.open().sha256(("nucleus",))
            writer.append(record.id, {"probability": maps}, image_sha256=digest)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        "good": store_of(folder / "good.zarr", 0.1, 1),
        "fair": store_of(folder / "fair.zarr", 0.4, 2),
    }


def words(stores: dict[str, Path], *more: Any) -> list[Any]:
    teacher = ["--teacher.kind", "store", "--teacher.path", stores["good"]]
    teacher += ["--teacher.also", stores["fair"], "--data.labelled", 2]
    return ["distill", "cmkd", *TISSUE, *TINY, "--evidence", "quick", *teacher, *more]


def test_from_two_stores_to_report_and_package(stores: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert abbe(*words(stores, "--teacher.trust", "auto", "--out", out)) == 0
    run = open_run(out)
    mean = TargetStore(out / "targets.zarr")
    assert mean.provenance.outputs == ("foreground", "agreement")
    good, fair = (float(_weight(mean, name)) for name in ("good", "fair"))
    assert good > fair > 0
    assert good + fair == pytest.approx(1)
    assert mean.provenance.settings["weights from"] == "4 labelled images"
    summary = told(run)
    assert summary["teacher"]["teacher"] == "good + fair"
    licences = [part["weights_licence"] for part in summary["teacher"]["parts"]]
    assert licences == ["licence of good", "licence of fair"]
    assert summary["models"]["teacher"]["metrics"]["dice"]["mean"] > 0.9
    page = run.report.read_text("utf-8")
    assert "Weight of good" in page
    assert "licence of fair" in page
    package.export(out, int8="none")
    told_by = summary["calibration"]["student"]
    assert set(told_by) == {"foreground", "boundary"}
    made = json.loads((out / "package/package.json").read_text())
    assert made["temperature"] == [told_by[name]["temperature"] for name in made["outputs"]]
    assert made["lineage"]["teacher"] == "good + fair"
    assert made["lineage"]["weights_licence"].startswith(
        "teacher good: licence of good; teacher fair: licence of fair"
    )


def _weight(store: TargetStore, name: str) -> str:
    return store.provenance.settings[f"weight of {name}"].removeprefix("foreground ")


def test_a_file_and_python_say_it_too(stores: dict[str, Path], tmp_path: Path) -> None:
    """The same experiment, and the same weights of teachers, by each way."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"recipe: cmkd\nout: {tmp_path / 'file'}\nevidence: quick\n"
        f"teachers: [{stores['good']}, {stores['fair']}]\n"
        "student: {encoder_weights: random}\n"
    )
    parsed = config.load(path)
    assert (parsed.teacher.kind, parsed.teacher.path) == ("store", stores["good"])
    assert parsed.teacher.also == (stores["fair"],)
    config.save(parsed, tmp_path / "saved.yaml")  # paths are relative there, and found again
    assert "../" in (tmp_path / "saved.yaml").read_text()
    assert config.load(tmp_path / "saved.yaml").teacher.also[0].samefile(stores["fair"])
    keys: dict[str, Any] = {"steps": 2, "batch_size": 2, "crop": 32, "workers": 0}
    run = package.distill(
        "cmkd", tissue(), [stores["good"], TargetStore(stores["fair"])], evidence="quick",
        student="unet-timm-test_efficientnet", encoder_weights="random", input_channels=["nucleus"],
        training=keys, out=tmp_path / "python", progress=False,
    )  # fmt: skip
    assert told(run)["teacher"]["teacher"] == "good + fair"


def test_two_stores_become_one(stores: dict[str, Path], tmp_path: Path) -> None:
    both = ["--teacher.path", stores["good"], "--teacher.also", stores["fair"]]
    data = [*TISSUE, "--out", tmp_path / "both.zarr"]
    assert abbe("teach", *data, "--teacher.kind", "store", *both) == 0
    found = TargetStore(tmp_path / "both.zarr")
    assert len(found) == 16
    assert found.provenance.settings["weights from"] == "4 labelled images"
    again = package.teach(list(stores.values()), tissue(), tmp_path / "python.zarr", progress=False)
    assert again.provenance == found.provenance
    assert np.array_equal(
        again.read(found.ids[3], "probability"), found.read(found.ids[3], "probability")
    )


def test_where_it_cannot_be_said_it_is_refused(
    stores: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*given: Any) -> str:
        assert abbe(*given) != 0
        return capsys.readouterr().err

    out = ["--out", tmp_path / "x"]
    assert "live: one teacher as it is" in refused(*words(stores, "--teacher.live", *out))
    folder = tmp_path / "masks"
    folder.mkdir()
    unknown = ["--teacher.kind", "store", "--teacher.path", stores["good"]]
    told_by = refused("distill", "cmkd", *TISSUE, *TINY, *unknown, "--teacher.also", folder, *out)
    assert "masks does not say what it is" in told_by
    masks = ["--teacher.kind", "masks", "--teacher.path", folder]
    assert "takes the mean of stores" in refused(
        "teach", *TISSUE, *masks, "--teacher.also", stores["good"], *out
    )
    assert "teacher.also: belongs to recipe cmkd" in refused(
        "distill", "rckd", "--teacher.also", stores["good"], *out
    )


def test_terms_count_pixels_as_teachers_agree_on_them() -> None:
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    maps[:, 1, :, 4:] = 0  # in dispute on the right
    batch: Batch = {
        "valid": torch.ones(2, 8, 8, dtype=torch.bool),
        "has_target": torch.tensor([True, True]),
        "target": maps,
    }
    outputs, given = ("foreground",), ("foreground", "agreement")
    term = probability_term(outputs, given, losses.probability_mse)
    expected = losses.probability_mse(logits[:, 0], maps[:, 0], maps[:, 1])
    assert term.loss(logits, batch) == expected
    moved = {**batch, "target": maps.clone()}
    moved["target"][:, 0, :, 4:] = torch.rand(2, 8, 4)
    assert term.loss(logits, moved) == expected  # what is in dispute teaches nothing
    edges = target_boundary_term(outputs, given, losses.boundary_dice)
    truth = (maps[:, 0] >= 0.5).float()
    assert edges.loss(logits, batch) == losses.boundary_dice(logits[:, 0], truth, maps[:, 1])
