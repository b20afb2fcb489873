"""What settings, networks and the teacher tell alone is told before any image is read."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import TINY, TISSUE, abbe, tissue

from abbe.errors import ConfigError
from abbe.imaging import write_labels
from abbe.students import build
from abbe.training.trying import require_varied

RCKD = shlex.split(
    "rckd --student.architecture unet-mobilenetv3 --student.encoder-weights random "
    "--student.input-channels red green blue --pretraining.steps 2 --pretraining.batch-size 2 "
    "--pretraining.crop 32 --training.steps 2 --training.batch-size 2 --training.crop 32 "
    "--training.workers 0 --evidence quick"
)
KDSAM = shlex.split(
    "kdsam --student.architecture promptable-resnet18 --student.encoder-weights random "
    "--promptable.side 64 --promptable.decoder-steps 2 --promptable.perceptual-mode decoder "
    "--training.steps 2 --training.batch-size 2 --training.workers 0 --evidence quick"
)


@pytest.fixture(autouse=True)
def images_stay_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the images of a run fails."""

    def look(*_: Any, **__: Any) -> None:
        pytest.fail("the images were looked at")

    monkeypatch.setattr("abbe.tasks.task.readable", look)
    monkeypatch.setattr("abbe.recipes.recipe.readable", look)
    monkeypatch.setattr("abbe.recipes.imagenet.readable_of", look)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of TISSUE that is a folder."""
    folder = tmp_path_factory.mktemp("masks")
    for record in tissue():
        write_labels(folder / f"{record.id}.png", torch.ones(64, 64, dtype=torch.int32).numpy())
    return folder


def refused(capsys: Any, out: Path, *words: Any, verb: str = "distill") -> str:
    assert abbe(verb, *words, "--out", out) == 1
    assert not out.exists()
    return " ".join(capsys.readouterr().err.split())


def cmkd(masks: Path) -> list[Any]:
    return ["cmkd", *TISSUE, *TINY, "--teacher.kind", "masks", "--teacher.path", masks]


BATCH = "training.labelled_share 0.5 of training.batch_size 1 leaves no place for labelled images"
NORM = "training.batch_size 1, training.crop 32: a single crop of 32 px is too little"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--data.labelled 2 --training.batch-size 1", BATCH),
        ("--training.batch-size 1", NORM),
        ("--student.encoder-weights absent.pt", "absent.pt"),
        ("--teacher.path absent", "absent"),
        ("--teacher.kind onnx --teacher.path absent.onnx", "there is no such ONNX file"),
        ("--teacher.kind cellpose --teacher.path none", "cellpose"),
        ("--teacher.also absent.zarr", "absent.zarr"),
        ("--teacher.options suffx _mask", "has no option suffx"),
        ("--loss.weighting fixed --loss.weights edges 1", "no term edges"),
    ],
)
def test_cmkd(tmp_path, capsys, masks, words, complaint):
    assert complaint in refused(capsys, tmp_path / "run", *cmkd(masks), *shlex.split(words))


def test_cmkd_without_a_foreground(tmp_path, capsys, masks, monkeypatch):
    from abbe.teachers import masks as of_masks

    def nuclei(*given: Any, **options: Any) -> Any:
        teacher = of_masks(*given, **options)
        object.__setattr__(teacher.provenance, "outputs", ("nuclei",))
        return teacher

    monkeypatch.setattr("abbe.runs.build.TEACHERS", {"masks": nuclei})
    message = refused(capsys, tmp_path / "run", *cmkd(masks))
    assert "gives nuclei but no map called 'foreground'" in message


@pytest.mark.parametrize("verb", ["distill", "curve"])
def test_processes_that_cannot_share_a_batch(tmp_path, capsys, masks, monkeypatch, verb):
    monkeypatch.setenv("WORLD_SIZE", "3")
    message = refused(capsys, tmp_path / "run", *cmkd(masks), verb=verb)
    assert "training.batch_size 2 cannot be shared by 3 processes" in message


def test_a_curve_whose_shares_leave_images_without_labels(tmp_path, capsys, masks):
    words = [*cmkd(masks), "--training.batch-size", "1", "--training.crop", "64"]
    assert BATCH in refused(capsys, tmp_path / "curve", *words, verb="curve")


def test_supervised(tmp_path, capsys):
    words = ["supervised", *TISSUE, *TINY, "--training.batch-size", "1"]
    assert NORM in refused(capsys, tmp_path / "run", *words)


@pytest.mark.parametrize("verb", ["distill", "curve"])
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--training.batch-size 1", NORM),
        ("--pretraining.batch-size 1", "pretraining.batch_size"),
        ("--student.encoder-weights absent.pt", "absent.pt"),
        ("--teacher.path absent", "absent"),
        ("--pretraining.response kl", "'kl' needs a teacher of two or more classes"),
        ("--student.input-channels red", "pretraining: stain and colour change red, green"),
    ],
)
def test_rckd(tmp_path, capsys, tiles, verb, words, complaint):
    base = [
        *RCKD, "--data.path", tiles / "classes", "--pretrain-data.kind", "folder",
        "--pretrain-data.path", tiles / "tiles", "--teacher.kind", "masks",
        "--teacher.path", tiles / "masks",
    ]  # fmt: skip
    if verb == "curve":
        base = [word for word in base if word not in ("--evidence", "quick")]
    assert complaint in refused(capsys, tmp_path / "run", *base, *shlex.split(words), verb=verb)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            "--promptable.train-neck --promptable.train-encoder",
            "train_encoder fits the neck with the encoder: leave train_neck out",
        ),
        (
            "--promptable.train-neck --promptable.decoder-steps 0",
            "decoder_steps is 0, so there is no second stage for train_neck",
        ),
        ("--promptable.mask-step 7", "mask_step 7 does not divide the side of 64 px"),
        ("--promptable.baseline absent.pt", "promptable.baseline: there is no file"),
        ("--student.encoder-weights absent.pt", "absent.pt"),
        ("--teacher.path absent.pt", "absent.pt"),
        ("--data.labelled 0", "no labelled training image"),
        ("--teacher.options prompts telepathy", "telepathy"),
    ],
)
def test_kdsam(tmp_path, capsys, pictures, sam_file, words, complaint):
    base = [*KDSAM, "--data.path", pictures, "--teacher.path", sam_file]
    assert complaint in refused(capsys, tmp_path / "run", *base, *shlex.split(words))


def test_kdsam_without_a_network(tmp_path, capsys, pictures, sam_file, monkeypatch):
    def offline(url: str, *_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    base = [*KDSAM, "--data.path", pictures, "--teacher.path", sam_file]
    words = ["--promptable.perceptual-mode", "triplets"]
    message = refused(capsys, tmp_path / "run", *base, *words)
    assert "the ImageNet weights of vgg16 cannot be fetched" in message
    assert "--promptable.vgg-weights PATH" in message


def test_imagenet(tmp_path, capsys):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "photographs" / part / name).mkdir(parents=True)
            (tmp_path / "photographs" / part / name / "1.JPEG").write_bytes(b"")
    words = ["imagenet", "--data.path", tmp_path / "photographs", "--student.encoder-weights"]
    assert "absent.pt" in refused(capsys, tmp_path / "run", *words, "absent.pt")


def test_a_batch_norm_is_tried_on_a_copy_and_only_where_it_may_fail() -> None:
    network = build(
        "unet-mobilenetv3", in_channels=1, outputs=("foreground",), encoder_weights="random"
    ).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ConfigError, match=r"pretraining\.batch_size 2, pretraining\.crop 32"):
        require_varied(network, 1, 32, 2, processes=2, section="pretraining")
    for crop, batch, processes, together in (
        (64, 1, 1, False), (32, 2, 1, False), (32, 2, 2, True), (64, 2, 2, False),
    ):  # fmt: skip
        require_varied(network, 1, crop, batch, processes=processes, synchronised=together)
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
