"""What one block of an image finds out of the whole of it, the others take over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_he import tissue
from made_packages import blobs, make_class_package, make_package, make_region_package, slide_types
from no_workers import NO_WORKERS
from prompt_package import make_prompt_package

from abbe.imaging import Image, Reading, open_image, read_labels, stain
from abbe.imaging.formats.dicom import series
from abbe.imaging.scaling import Scaling
from abbe.imaging.stain import stains_of_image
from abbe.runtime.batch import finished, item
from abbe.runtime.batch.item import Item, predict_item
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.many import Run
from abbe.runtime.batch.on_workers import Elsewhere, _common, _Giving
from abbe.runtime.batch.one_image import Batch, OneImage
from abbe.runtime.job import Job, Tools
from abbe.runtime.package import Normalisation
from abbe.runtime.predictors.channels import channels_for
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling import blocks as dividing
from abbe.runtime.tiling import tissue as judging
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work

RGB = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(dividing, "MOST_TILES", 2)


def stained(path: Path) -> Path:
    pixels = np.kron(tissue(40), np.ones((1, 8, 8), np.uint8)).transpose(1, 2, 0)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    return path


def batch_of(predictor: Any, out: Path, job: Job) -> Batch:
    out.mkdir(exist_ok=True)
    return Batch(predictor, out, job, Leftovers(()), Timings(), lambda name, share: None)


def opened(predictor: Any, path: Path, reading: Reading) -> OneImage:
    """As a worker has it, which knows nothing of the others."""
    batch = batch_of(predictor, path.parent / "out", Job(("labels",), reading))
    return batch.open(path, Path(path.name))


def test_an_image_in_another_stain_is_the_same_job_on_all_workers(tmp_path):
    path = stained(tmp_path / "a.tif")
    reading = Reading(stain=stains_of_image(open_image(path)))
    package = slide_types(tmp_path / "package", ("a", "b"), tile=128)
    predictor = open_predictor(package, precision="fp32", threads=1, workers=1)
    one, other = (opened(predictor, path, reading) for _ in range(2))
    assert len(one.blocks) > 2
    with one.divided():
        first, second, *_ = one.blocks
        one.compute(first, Inline())
        kept = set((tmp_path / "out" / ".a.abbe").iterdir())
        other.compute(second, Inline())
        assert kept < set((tmp_path / "out" / ".a.abbe").iterdir())


def counted(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> list[str]:
    """A call of a function an entry, from now on."""
    calls: list[str] = []
    original: Callable[..., Any] = getattr(place, name)

    def call(*words: Any, **more: Any) -> Any:
        calls.append(name)
        return original(*words, **more)

    monkeypatch.setattr(place, name, call)
    return calls


def test_the_stains_of_an_image_are_found_once_for_all_blocks(tmp_path, monkeypatch):
    path = stained(tmp_path / "a.tif")
    wanted = stains_of_image(open_image(stained(tmp_path / "like.tif")))
    package = slide_types(tmp_path / "package", ("a", "b"), tile=128)
    predictor = open_predictor(package, precision="fp32", threads=1, workers=1)
    calls = counted(monkeypatch, stain, "stains_of_image")
    one = opened(predictor, path, Reading(stain=wanted))
    with one.divided():
        for block in one.blocks:
            opened(predictor, path, Reading(stain=wanted)).compute(block, Inline())
    assert len(one.blocks) > 4
    assert calls == ["stains_of_image"]


def slide(path: Path, *, dark: bool = False) -> Path:
    """Glass, with stained noise in the middle; or fluorescence that was saved in colours."""
    pixels = np.full((2048, 2048, 3), 0 if dark else 242, np.uint8)
    pixels[600:1400, 600:1400] = tissue(800).transpose(1, 2, 0) // (8 if dark else 1)
    size = {"resolution": (1e4 / 0.5,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), **size)
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["H&E", "fluorescence"])
@pytest.mark.parametrize("make", [make_package, make_region_package])
def test_the_tissue_of_a_slide_is_judged_once_for_all_blocks(tmp_path, monkeypatch, make, dark):
    path = slide(tmp_path / "a.tif", dark=dark)
    package = make(tmp_path / "package", channels=RGB, tile=512, pixel_size=0.5)
    predictor = open_predictor(package, precision="fp32", threads=1, workers=1)
    calls = counted(monkeypatch, judging, "_judge")
    monkeypatch.setattr(type(predictor.engine), "probabilities", answers)
    one = opened(predictor, path, Reading())
    with one.divided():
        for block in one.blocks:
            opened(predictor, path, Reading()).compute(block, Inline())
    written = one.write(Inline())
    assert len(one.blocks) > 4
    assert calls == ["_judge"]
    told = [note for note in written.notes if "places of the slide have tissue" in note]
    assert len(told) == (not dark)


def answers(engine: Any, batch: np.ndarray) -> np.ndarray:
    """Nothing is found, at once."""
    count = len(engine.package.description.logit_names)
    return np.zeros((len(batch), count, *batch.shape[2:]), np.float32)


def test_tiles_that_are_classified_again_are_judged_and_normalised_once(tmp_path, monkeypatch):
    path = slide(tmp_path / "a.tif")
    package = make_class_package(
        tmp_path / "package", channels=RGB, tile=256, pixel_size=0.5,
        normalisation=Normalisation(kind="percentile"),
    )  # fmt: skip
    predictor: Any = open_predictor(package, precision="fp32", threads=1, workers=1)
    judged = counted(monkeypatch, judging, "_judge")
    limits = counted(monkeypatch, Scaling, "image_limits")
    tools = Tools(Inline(), Work(tmp_path / "work", {}), Timings(), lambda share: None)
    first, second = (predictor.run(open_image(path), tools) for _ in range(2))
    assert judged == ["_judge"]
    assert limits == ["image_limits"]
    np.testing.assert_array_equal(first.tissue.verdicts, second.tissue.verdicts)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_a_grey_image_in_colours_is_looked_through_once(monkeypatch):
    image = Image.from_array(np.full((3, 64, 64), 9, np.uint8), RGB)
    reads = counted(monkeypatch, Image, "read")
    assert channels_for(image, ("nucleus",)) == channels_for(image, ("nucleus",)) == ("red",)
    assert reads == ["read"]


def given_out(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, after: Callable[[Item], object]
) -> Run:
    """An image on one worker, which is this process; ``after`` is told of each item done."""
    predictor = open_predictor(make_package(tmp_path / "package"), precision="fp32", workers=1)
    monkeypatch.setattr(item, "_slots", lambda: 1)
    (tmp_path / "out").mkdir()
    run = Run(predictor, {path: Path("a.tif")}, tmp_path / "out", Job(), lambda name, share: None)
    giving = _Giving(run, _common(run, Elsewhere(NO_WORKERS, {"threads": 1})))
    for given in giving.items():
        assert given is not None
        giving.take(given[1], predict_item(given[1], 1))
        after(given[1])
    assert not run.outcome.failed
    return run


def test_the_files_of_an_image_are_looked_up_by_who_begins_and_who_writes(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"  # of a folder there may be a hundred thousand
    tifffile.imwrite(path, blobs(420, 500), tile=(64, 64))
    calls, done = counted(monkeypatch, finished, "_contents"), list[Item]()
    run = given_out(tmp_path, path, monkeypatch, done.append)
    assert sum(each.block is not None for each in done) > 4
    assert run.outcome.done[str(path)] > 5
    assert len(calls) == 3  # a worker finds it large, the client divides it, a worker writes it


def test_what_results_in_dicom_refer_to_is_read_by_who_begins(tmp_path, monkeypatch):
    path, read = tmp_path / "a.tif", list[Path]()
    tifffile.imwrite(path, blobs(420, 500), tile=(64, 64))
    monkeypatch.setattr(series, "source_of", lambda path, slide: read.append(path))
    predictor = open_predictor(make_package(tmp_path / "package"), precision="fp32", workers=1)
    batch = batch_of(predictor, tmp_path / "out", Job(("labels", "dicom-seg")))
    one = batch.open(path, Path("a.tif"))
    assert batch.open(path, Path("a.tif"), one.task).task == one.task
    assert read == [path]


def test_a_worker_that_stays_reads_the_prompts_of_each_run(tmp_path, monkeypatch):
    package = make_prompt_package(make_package, tmp_path / "package")
    predictor = open_predictor(package, workers=1)
    monkeypatch.setattr(item, "_slots", lambda: 1)
    run = Run(predictor, {}, tmp_path / "out", Job(), lambda name, share: None)
    (tmp_path / "out").mkdir()
    found = []
    for side in (20, 30):
        (tmp_path / "boxes.csv").write_text(f"id,x0,y0,x1,y1\na,2,3,{side},{side}\n")
        elsewhere = Elsewhere(NO_WORKERS, {"threads": 1}, tmp_path / "boxes.csv")
        _, prompts = item._OPEN.get(_common(run, elsewhere), False)
        assert prompts is not None
        found += prompts("a", (40, 40))
    assert [prompt.box for prompt in found] == [(2, 3, 20, 20), (2, 3, 30, 30)]


def test_an_image_that_changes_between_blocks_is_computed_anew(tmp_path, monkeypatch):
    path, earlier = tmp_path / "a.tif", blobs(420, 500)
    tifffile.imwrite(path, earlier, tile=(64, 64))
    changed = list[Item]()

    def change(each: Item) -> None:
        if each.block is not None and not changed:
            tifffile.imwrite(path, earlier[::-1], tile=(64, 64))
            changed.append(each)

    given_out(tmp_path, path, monkeypatch, change)
    found = read_labels(tmp_path / "out" / "a.labels.tif")
    np.testing.assert_array_equal(found, predict(tmp_path / "package", path, precision="fp32"))
    assert changed
