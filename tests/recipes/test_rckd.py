"""RCKD through the command line, on drawn tiles: few discs are one class, many the other."""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch
from commands import abbe, doubts
from golden import hold
from PIL import Image as Picture
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import abbe as in_python
from abbe import students
from abbe.files.tensors import read_tensors
from abbe.targets import TargetStore

TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --student.encoder-weights random "
    "--student.input-channels red green blue --pretraining.steps 2 --pretraining.batch-size 2 "
    "--pretraining.crop 32 --training.steps 2 --training.batch-size 2 --training.crop 32 "
    "--training.validate-every 2 --training.workers 0 --training.ema 0 --baselines twin --seeds 1"
)


@pytest.fixture(scope="module")
def base(tiles):
    return [
        "distill", "rckd", *TINY, "--data.path", str(tiles / "classes"),
        "--pretrain-data.kind", "folder", "--pretrain-data.path", str(tiles / "tiles"),
        "--teacher.kind", "masks", "--teacher.path", str(tiles / "masks"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "rckd"
    arguments = ["--pretraining.method", "rckd+contrastive", "--out", out]
    assert abbe(*base, *arguments) == 0
    return out


def lines_of(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {(line["model"], line["stage"]): set(line["terms"]) for line in lines if "terms" in line}


@pytest.mark.slow
def test_figures_are_those_of_before(run):
    hold("rckd", run)


@pytest.mark.slow
def test_a_run_pretrains_fine_tunes_and_scores_student_and_twin(run):
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["models"]) == {"student", "twin"}
    for model in summary["models"].values():
        assert set(model["metrics"]) == {"accuracy", "balanced_accuracy", "macro_f1", "auroc"}
        assert model["metrics"]["accuracy"]["n"] == 6
        assert 0 <= model["metrics"]["auroc"]["mean"] <= 1
    assert summary["gain"]["balanced_accuracy"]["n"] == 6
    drawn = {path.name for path in (run / "previews").iterdir()}
    assert drawn == {"student-task-000002.png", "twin-task-000002.png"}  # not of pretraining
    assert summary["data"]["train_labelled"] == 6
    assert summary["pretraining"] == "rckd+contrastive"
    assert summary["data"]["class_counts"]["test"] == {"dense": 3, "sparse": 3}
    for model, facts in summary["models"].items():
        table = np.array(facts["confusion"])
        assert table.sum(1).tolist() == [3, 3]
        assert table.trace() / 6 == pytest.approx(facts["metrics"]["accuracy"]["mean"]), model
    answers = parquet.read_table(run / "predictions.parquet").to_pylist()
    right = sum(row["class"] == row["predicted"] for row in answers if row["model"] == "twin")
    assert right / 6 == pytest.approx(summary["models"]["twin"]["metrics"]["accuracy"]["mean"])
    page = (run / "report.html").read_text()
    assert "Balanced accuracy" in page
    assert "Confusion matrix" in page


@pytest.mark.slow
def test_pretraining_reads_no_label_and_the_twin_gets_the_task_alone(run):
    # The tiles' label files are no images: the run would have ended at the first one.
    assert lines_of(run) == {
        ("student", "pretrain"): {"response", "hv", "contrastive"},
        ("student", "task"): {"class"},
        ("twin", "task"): {"class"},
    }


@pytest.fixture(scope="module")
def given_run(base, tmp_path_factory):
    """A run whose encoder begins with weights that were given; and these weights."""
    root = tmp_path_factory.mktemp("given")
    torch.manual_seed(5)
    network = students.build_classifier(
        "mobilenetv3", in_channels=3, classes=("a", "b"), encoder_weights="random"
    )
    students.save_encoder(root / "given.safetensors", network, {})
    weights = ["--student.encoder-weights", root / "given.safetensors"]
    assert abbe(*base, *weights, "--out", root / "run") == 0
    return root / "run", network


@pytest.mark.slow
def test_the_twin_is_named_given_and_each_encoder_has_a_linear_probe(given_run):
    summary = json.loads((given_run[0] / "summary.json").read_text())
    assert summary["initialisations"] == {"student": "rckd", "twin": "given"}
    probes = summary["linear_probe"]
    assert list(probes["models"]) == ["random", "given", "rckd"]
    for name, probe in probes["models"].items():
        assert set(probe["metrics"]) == {"accuracy", "balanced_accuracy", "macro_f1", "auroc"}
        assert probe["metrics"]["accuracy"]["n"] == 6, name
        low, high = probe["metrics"]["accuracy"]["ci95"]
        assert low <= probe["metrics"]["accuracy"]["mean"] <= high
    means = {name: probe["metrics"]["auroc"]["mean"] for name, probe in probes["models"].items()}
    assert probes["gain"]["auroc"]["mean"] == pytest.approx(means["rckd"] - means["given"])
    page = (given_run[0] / "report.html").read_text()
    for text in (
        "from given", "from rckd", "By what the encoder began with", "Linear probe, rckd − given",
        "Here it begins with the encoder’s weights as they were given",
    ):  # fmt: skip
        assert text in page


@pytest.mark.slow
def test_a_probe_of_given_weights_is_a_layer_on_their_frozen_features(given_run, tiles):
    run, network = given_run
    network.eval()

    def looked_at(split):
        found = []
        for path in sorted((tiles / "classes" / split).glob("*/*.png")):
            pixels = np.asarray(Picture.open(path)).transpose(2, 0, 1)
            pixels = pixels.astype(np.float32) / 255  # pictures are not stretched
            with torch.inference_mode():
                found.append(network.features(torch.from_numpy(pixels)[None])[0].double().numpy())
        return np.stack(found)

    summary = json.loads((run / "summary.json").read_text())
    scale = StandardScaler().fit(looked_at("train"))
    layer = LogisticRegression(C=summary["linear_probe"]["models"]["given"]["strength"])
    layer.fit(scale.transform(looked_at("train")), [0, 0, 0, 1, 1, 1])
    own = layer.predict_proba(scale.transform(looked_at("test")))
    rows = parquet.read_table(run / "predictions.parquet").to_pylist()
    told = {row["image"]: row for row in rows if row["model"] == "linear probe of given"}
    assert len(told) == 6
    order = [told[id]["probability_dense"] for id in sorted(told)]
    np.testing.assert_allclose(order, own[:, 0], atol=1e-4)


@pytest.mark.slow
def test_random_weights_alone_are_not_probed(base, tmp_path):
    words = ["--pretraining.method", "none", "--teacher.kind", "none", "--out", tmp_path / "run"]
    assert abbe(*base, *words) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["initialisations"] == {"student": "random"}
    assert "linear_probe" not in summary
    assert "By what the encoder began with" not in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
def test_the_encoder_is_written_with_facts_and_was_changed_by_pretraining(run):
    facts = students.encoder_facts(run / "encoder.safetensors")
    assert facts["encoder"] == "mobilenetv3"
    assert facts["facts"]["pretraining"] == "rckd+contrastive"
    assert facts["facts"]["tiles"] == 6
    model = students.build_classifier(
        "mobilenetv3", in_channels=3, classes=("a", "b"), encoder_weights="random"
    )
    students.load_encoder(model, run / "encoder.safetensors")
    loaded, stored = read_tensors(run / "encoder.safetensors"), students.encoder_state(model)
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())
    student, facts = students.load_classifier(run / "student.safetensors")
    assert facts["classes"] == ["dense", "sparse"]
    assert student(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.slow
def test_a_linear_probe_leaves_the_encoder_alone(base, tmp_path):
    arguments = ["--fine-tuning.trains", "linear", "--pretraining.method", "contrastive"]
    assert abbe(*base, *arguments, "--out", tmp_path / "probe") == 0
    encoder = read_tensors(tmp_path / "probe/encoder.safetensors")
    probe, _ = students.load_classifier(tmp_path / "probe/student.safetensors")
    assert isinstance(probe, students.LinearProbe)
    assert not torch.equal(probe.feature_std, torch.ones_like(probe.feature_std))
    after = students.encoder_state(probe.classifier)
    assert all(torch.equal(encoder[name], value) for name, value in after.items())
    assert lines_of(tmp_path / "probe")[("student", "pretrain")] == {"contrastive"}
    assert not (tmp_path / "probe/targets.zarr").exists()


@pytest.mark.slow
def test_regions_are_segmented_from_the_pretrained_decoder_too_in_python(tiles, tmp_path):
    run = in_python.distill(
        "rckd", {"kind": "folder", "path": tiles / "regions"},
        {"kind": "masks", "path": tiles / "masks"}, out=tmp_path / "regions",
        student="unet-mobilenetv3", input_channels=("red", "green", "blue"),
        encoder_weights="random", baselines=["twin"], seeds=1,
        pretrain_data={"kind": "folder", "path": tiles / "tiles"},
        pretraining={"steps": 2, "batch_size": 2, "crop": 32},
        fine_tuning={"task": "segmentation"},
        training={"steps": 2, "batch_size": 2, "crop": 32, "validate_every": 2, "workers": 0,
                  "ema": 0},
    )  # fmt: skip
    assert lines_of(run.folder)["student", "pretrain"] == {"response", "hv"}
    hold("rckd segmentation", run.folder)
    summary = json.loads((tmp_path / "regions/summary.json").read_text())
    assert summary["classes"] == ["background", "foreground"]
    assert set(summary["models"]["twin"]["metrics"]) == {"mean_iou", "dice", "pixel_accuracy"}
    assert summary["gain"]["mean_iou"]["n"] == 2
    network, _ = students.load(tmp_path / "regions/student.safetensors")
    assert network.outputs == ("background", "foreground")
    assert list((tmp_path / "regions/examples").glob("*.npz"))
    assert (tmp_path / "regions/previews/student-task-000002.png").is_file()


@pytest.mark.slow
def test_without_pretraining_there_is_no_twin_and_a_resumed_run_is_the_same(base, tmp_path):
    arguments = ["--pretraining.method", "none", "--data.labelled", "4", "--out", tmp_path / "none"]
    assert abbe(*base, *arguments) == 0
    first = json.loads((tmp_path / "none/summary.json").read_text())
    assert set(first["models"]) == {"student"}
    assert first["data"]["train_labelled"] == 4
    assert abbe(*base, *arguments, "--resume") == 0
    second = json.loads((tmp_path / "none/summary.json").read_text())
    assert second["models"]["student"]["metrics"] == first["models"]["student"]["metrics"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--teacher.kind", "none"], "needs a teacher"),
        (["--fine-tuning.trains", "linear", "--fine-tuning.task", "segmentation"], "linear"),
        (
            ["--pretraining.method", "contrastive", "--pretraining.batch-size", "7"],
            "there are 6 tiles only",
        ),
        (["--student.architecture", "promptable-resnet18"], "does not go with recipe 'rckd'"),
        (["--student.input-channels", "nucleus"], "the student is to see nucleus"),
        (["--fine-tuning.task", "segmentation"], "no train image with a label"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(base, tmp_path, capsys, arguments, complaint):
    assert abbe(*base, "--out", tmp_path / "x", *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x/log.jsonl").exists()


def test_a_class_with_one_sample_is_refused(base, tiles, tmp_path, capsys):
    for split in ("train", "test"):
        for name in ("dense", "sparse"):
            folder = tmp_path / "few" / split / name
            folder.mkdir(parents=True)
            for number in range(1 if name == "sparse" else 2):
                source = tiles / "classes" / split / name / f"{number}.png"
                (folder / f"{number}.png").write_bytes(source.read_bytes())
    assert abbe(*base, "--data.path", tmp_path / "few", "--out", tmp_path / "x") == 1
    assert "fewer of sparse (1)" in capsys.readouterr().err


@pytest.fixture
def gaps(tiles, tmp_path):
    """The teacher's masks but for two tiles."""
    shutil.copytree(tiles / "masks", tmp_path / "masks")
    for name in ("t1", "t4"):
        (tmp_path / "masks" / f"{name}.png").unlink()
    return ["--teacher.path", str(tmp_path / "masks")]


def test_tiles_that_the_teacher_fails_on_end_the_run_or_are_counted(base, gaps, tmp_path, capsys):
    words = [*base, *gaps, "--pretraining.method", "rckd", "--out", tmp_path / "run"]
    assert abbe(*words, "--allow-failed", 1) == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 1 may be:" in said
    assert "no mask for the image 't1'" in said
    assert "and so 1 more: t4\n" in said
    assert len(TargetStore(tmp_path / "run/targets.zarr").ids) == 4
    assert not (tmp_path / "run/log.jsonl").exists()
    assert abbe(*words, "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["targets"] == {"images": 4, "empty": 0, "missing": 2}
    assert summary["lost"] == ["t1", "t4"]
    assert "The teacher gave no answer for 2 images." in doubts(tmp_path / "run")


def test_a_curve_asks_its_teacher_before_anything_is_trained(base, gaps, tmp_path, capsys):
    """The random initialisation comes first and needs no teacher; its hours would be lost."""
    words = [
        "curve", *base[1:], *gaps, "--fractions", "1", "--seeds", "0",
        "--initialisations", "random", "rckd", "--out", tmp_path / "curve",
    ]  # fmt: skip
    assert abbe(*words) == 1
    assert "2 images were lost, and 0 may be:" in capsys.readouterr().err
    assert not list((tmp_path / "curve").rglob("*.npz"))
    assert not (tmp_path / "curve/log.jsonl").exists()
    assert abbe(*words, "--resume", "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "curve/summary.json").read_text())
    assert summary["targets"] == {"images": 4, "empty": 0, "missing": 2}
    assert summary["lost"] == ["t1", "t4"]
    assert "gave no answer for 2 images" in (tmp_path / "curve/report.html").read_text()
    # A curve that is resumed when all is done has the same to tell.
    assert abbe(*words, "--resume", "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "curve/summary.json").read_text())
    assert summary["targets"]["missing"] == 2


def test_regions_with_classes_of_pixels_alone_are_split_and_trained_on(base, tmp_path, rng):
    """No label, no column of splits: images and a folder of numbered pictures."""
    for kind in ("images", "types"):
        (tmp_path / "regions" / kind).mkdir(parents=True)
    for number in range(10):
        types = np.ones((64, 64), np.uint8)
        types[:, 32:] = 2
        pixels = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8) + types[..., None] * 60
        Picture.fromarray(pixels).save(tmp_path / "regions" / "images" / f"{number}.png")
        Picture.fromarray(types).save(tmp_path / "regions" / "types" / f"{number}.png")
    words = shlex.split(
        "--data.kind folder --data.types types --data.classes tumour stroma --data.labelled 4 "
        "--fine-tuning.task segmentation --evidence quick"
    )
    words = [*words, "--data.path", tmp_path / "regions", "--out", tmp_path / "run"]
    assert abbe(*base, *words) == 0
    data = json.loads((tmp_path / "run/summary.json").read_text())["data"]
    counts = [data[key] for key in ("train_labelled", "train_unlabelled", "validation", "test")]
    assert counts == [4, 2, 2, 2]
