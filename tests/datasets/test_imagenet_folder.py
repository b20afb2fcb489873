"""ImageNet's layout: what is listed, what is refused, what a batch of photographs holds."""

import pickle

import numpy as np
import PIL.Image
import pytest
import torch

from abbe.datasets import imagenet
from abbe.datasets.imagenet import imagenet_folder
from abbe.datasets.training.photograph_batches import PhotographBatches, WholePhotographs
from abbe.errors import InputError

CLASSES = ("n01440764", "n01443537", "n02102040")


def save(path, colour, size=(50, 40), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour).convert(mode).save(path, "JPEG", **options)


@pytest.fixture
def root(tmp_path):
    """Four training photographs a class, named as the publisher names them; two to validate on."""
    for number, name in enumerate(CLASSES):
        for index in range(4):
            save(tmp_path / f"train/{name}/{name}_{index}.JPEG", (80 * number, 10 * index, 50))
        for index in range(2):
            validation = f"ILSVRC2012_val_{2 * number + index + 1:08}.JPEG"
            save(tmp_path / f"val/{name}/{validation}", (80 * number, 0, 50))
    return tmp_path


def flatten(root):
    for path in list(root.glob("val/*/*.JPEG")):
        path.rename(root / "val" / path.name)
    for name in CLASSES:
        (root / "val" / name).rmdir()


def shown(photographs):
    return [
        (str(photographs.path(i).relative_to(photographs.folder)), int(photographs.numbers[i]))
        for i in range(len(photographs))
    ]


def test_photographs_are_listed_by_class_and_nothing_is_opened(root, monkeypatch):
    (root / "train" / CLASSES[0] / "._junk.JPEG").write_bytes(b"")
    (root / "train" / CLASSES[0] / "notes.txt").write_bytes(b"")
    (root / "train" / ".cache").mkdir()

    def refuse(*_arguments, **_options):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(PIL.Image, "open", refuse)
    found = imagenet_folder(root)
    assert found.classes == CLASSES
    assert len(found.train) == 12
    assert shown(found.train)[5] == (f"{CLASSES[1]}/{CLASSES[1]}_1.JPEG", 1)
    assert [number for _, number in shown(found.val)] == [0, 0, 1, 1, 2, 2]
    assert found.train.names.nbytes == 12 * len(f"{CLASSES[0]}_0.JPEG")


def test_a_class_without_validation_images_does_not_shift_the_others(root):
    for path in (root / "val" / CLASSES[0]).iterdir():
        path.unlink()
    (root / "val" / CLASSES[0]).rmdir()
    found = imagenet_folder(root).val
    assert [number for _, number in shown(found)] == [1, 1, 2, 2]
    assert shown(found)[0][0].startswith(CLASSES[1])


def test_a_flat_folder_is_read_with_the_publishers_file(root):
    flatten(root)
    rows = [f"ILSVRC2012_val_{n + 1:08},{CLASSES[(n + 1) % 3]} 1 2 30 40 " for n in range(6)]
    text = "\n".join(["ImageId,PredictionString", *reversed(rows)])
    # As Kaggle's archive lies: train and val deep inside, the file at the top.
    inside = root / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC"
    inside.mkdir(parents=True)
    for part in ("train", "val"):
        (root / part).rename(inside / part)
    (root / "kaggle" / "LOC_val_solution.csv").write_text(text)
    found = imagenet_folder(root / "kaggle").val
    assert shown(found) == [(f"ILSVRC2012_val_{n + 1:08}.JPEG", (n + 1) % 3) for n in range(6)]
    assert shown(imagenet_folder(inside).val) == shown(found)


def test_what_is_missing_is_said(root, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InputError, match=r"no folder 'train' in it. Expected is ImageNet's layout"):
        imagenet_folder(empty)
    (empty / "train").mkdir()
    with pytest.raises(InputError, match="holds 0 folders of classes"):
        imagenet_folder(empty)
    (empty / "train" / "n01440764.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds archives, not folders. Unpack each"):
        imagenet_folder(empty)
    (root / "val" / "n09").mkdir()
    with pytest.raises(InputError, match=r"has the class n09, which .*train has not"):
        imagenet_folder(root)
    (root / "val" / "n09").rmdir()
    flatten(root)
    with pytest.raises(
        InputError, match=r"its 6 images lie in no folders of classes.*Put LOC_val_"
    ):
        imagenet_folder(root)
    solution = root / "LOC_val_solution.csv"
    solution.write_text(f"ImageId,PredictionString\nILSVRC2012_val_00000001,{CLASSES[0]} 1 2 3 4")
    with pytest.raises(InputError, match=r"does not name ILSVRC2012_val_00000002\.JPEG"):
        imagenet_folder(root)
    solution.write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n77 1 2 3 4")
    with pytest.raises(InputError, match="says n77, no folder of train, of ILSVRC2012_val_0000000"):
        imagenet_folder(root)
    for path in (root / "val").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no image to validate on"):
        imagenet_folder(root)


def test_grey_and_printers_colours_are_read_as_rgb(root):
    found = imagenet_folder(root).train
    save(found.path(0), (200, 200, 200), mode="L")
    save(found.path(1), (200, 10, 10), mode="CMYK")
    assert found.read(0).mode == "RGB"
    assert found.read(0).getpixel((5, 5)) == (200, 200, 200)
    red, green, blue = np.asarray(found.read(1))[5, 5].tolist()
    assert red > 150 > 60 > max(green, blue)


@pytest.mark.parametrize("damage", [b"", b"<html>not found</html>", None])
def test_a_damaged_file_is_named(root, damage):
    found = imagenet_folder(root).train
    whole = found.path(3).read_bytes()
    found.path(3).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(InputError, match=rf"{CLASSES[0]}_3\.JPEG: not a readable picture"):
        found.read(3)


def test_those_that_can_be_read_keep_their_class(root, monkeypatch):
    monkeypatch.setattr(imagenet, "_AT_ONCE", 4)  # several blocks
    found = imagenet_folder(root).train
    for index in (1, 4):
        found.path(index).write_bytes(b"gone")
    kept, lost = imagenet.readable_photographs(found, workers=2)
    assert list(lost) == [found.path(index).relative_to(root).as_posix() for index in (1, 4)]
    assert all("not a readable picture" in reason for reason in lost.values())
    others = [index for index in range(len(found)) if index not in (1, 4)]
    assert [kept.path(place) for place in range(len(kept))] == [found.path(i) for i in others]
    assert kept.numbers.tolist() == found.numbers[others].tolist()
    for index in others:
        found.path(index).write_bytes(b"gone")
    with pytest.raises(InputError, match=r"none of its \d+ images can be read"):
        imagenet.readable_photographs(found, workers=2)


def batches(root, **options):
    settings = {"batch_size": 4, "crop": 32, "seed": 3, **options}
    return PhotographBatches(imagenet_folder(root).train, **settings)


def test_a_batch_depends_on_the_seed_and_its_number_alone(root):
    first, second = batches(root), batches(root)
    state = torch.random.get_rng_state()
    for step in (7, 0, 3):  # a resumed run begins anywhere
        torch.manual_seed(step)
        torch.testing.assert_close(first[step], pickle.loads(pickle.dumps(second))[step])
    assert first[0]["image"].shape == (4, 3, 32, 32)
    assert first[0]["image"].dtype == torch.uint8
    assert first[0]["category"].dtype == torch.int64
    assert not torch.equal(first[0]["image"], batches(root, seed=4)[0]["image"])
    torch.random.set_rng_state(state)
    first[5]
    assert torch.equal(state, torch.random.get_rng_state())


def test_each_pass_shows_every_photograph_once_and_in_another_order(root, monkeypatch):
    read, seen = imagenet.Photographs.read, []

    def counted(self, index):
        seen.append(index)
        return read(self, index)

    monkeypatch.setattr(imagenet.Photographs, "read", counted)
    whole = batches(root, batch_size=8)
    for step in range(3):  # 24 samples are two passes; the second batch reaches into the next
        whole[step]
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_processes_share_a_batch(root):
    whole = batches(root)[2]
    parts = [batches(root, rank=rank, processes=2)[2] for rank in (0, 1)]
    for key, value in whole.items():
        assert torch.equal(value, torch.cat([part[key] for part in parts]))
    with pytest.raises(InputError, match="batch_size 4 cannot be shared by 3 processes"):
        batches(root, processes=3)


def test_colours_change_only_where_they_are_to(root):
    plain = batches(root, colour=0.0)[0]
    changed = batches(root, colour=0.4)[0]
    assert torch.equal(plain["category"], changed["category"])
    for image, number in zip(plain["image"], plain["category"], strict=True):
        assert (image[0].float() - 80 * number).abs().max() <= 3  # but for JPEG's rounding
    assert not torch.equal(plain["image"], changed["image"])


def test_the_middle_of_the_whole_photograph_is_validated(root):
    path = root / "val" / CLASSES[1] / "ILSVRC2012_val_00000003.JPEG"
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[16:240, 144:368] = 255
    PIL.Image.fromarray(pixels).save(path, "JPEG", quality=95, subsampling=0)
    whole = WholePhotographs(imagenet_folder(root).val, 224)
    assert len(whole) == 6
    image, number = whole[2]
    assert image.shape == (3, 224, 224)
    assert number == 1
    assert image[:, 8:-8, 8:-8].min() > 245  # 256 px high already: nothing is resized, only cut
