import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from commands import abbe
from helpers_of_datasets import forbid, two_objects

from abbe.datasets import assign_splits, check, folder
from abbe.datasets.collection import FileLabel, label_of
from abbe.errors import InputError
from abbe.imaging import write_labels


def test_images_labels_and_columns_belong_together(make_folder):
    root = make_folder(
        labelled=["a", "c"],
        index="name,split,group,stain\na.png,train,p1,DAPI\nb,val,p2,\nc,test,,Hoechst\n",
    )
    dataset = folder(root)
    assert dataset.name == "set"
    assert dataset.channels == ("grey",)
    assert dataset.ids == ("a", "b", "c")
    assert dataset.labelled.ids == ("a", "c")
    assert [record.split for record in dataset] == ["train", "val", "test"]
    assert [record.group for record in dataset] == ["p1", "p2", None]
    assert dataset["a"].columns["stain"] == "DAPI"
    assert dataset.problems == ()
    label = dataset["a"].label
    assert label is not None
    np.testing.assert_array_equal(label.read(), two_objects())


def test_the_users_channels_and_pixel_size_reach_the_image(make_folder):
    dataset = folder(make_folder(), channels=["nucleus"], pixel_size=0.5)
    assert dataset.channels == ("nucleus",)
    assert dataset["a"].image.open().pixel_size == 0.5


def test_a_column_can_be_the_group(make_folder):
    root = make_folder(index="id,video\na,1\nb,1\nc,2\n")
    assert [record.group for record in folder(root, group="video")] == ["1", "1", "2"]
    with pytest.raises(InputError, match=r"index.csv has no column 'movie'.*id, video"):
        folder(root, group="movie")
    (root / "index.csv").unlink()
    with pytest.raises(InputError, match=r"no column 'video'.*file is missing"):
        folder(root, group="video")


def test_a_part_of_the_name_can_be_the_group(make_folder):
    assert [record.group for record in folder(make_folder(), group=r"^(\w)\.")] == ["a", "b", "c"]


def test_labels_may_have_another_extension_and_lie_elsewhere(make_folder):
    root = make_folder()
    for expert, value in (("one", 5), ("two", 9)):
        (root / "labels" / expert).mkdir()
        labels = np.where(two_objects() > 0, value, 0) + (two_objects() > 1)
        write_labels(root / "labels" / expert / "a.tif", labels)
    label = folder(root, labels="labels/two")["a"].label
    assert label is not None
    assert label.read().max() == 10
    for file in (root / "labels").glob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match=r"no label file; choose.*labels/one, labels/two"):
        folder(root)
    with pytest.raises(InputError, match=r"no folder labels/three; choose.*labels/one"):
        folder(root, labels="labels/three")


def test_two_masks_of_one_image_are_refused(make_folder):
    root = make_folder(labelled=["b"])
    for name in ("a_cp_masks", "a_mask"):
        write_labels(root / "labels" / f"{name}.png", two_objects())
    two = "two masks for 'a': a_cp_masks.png and a_mask.png. Keep one"
    with pytest.raises(InputError, match=two):
        folder(root)
    (root / "labels" / "a_cp_masks.png").rename(root / "labels" / "a.labels.png")
    with pytest.raises(InputError, match=r"two masks for 'a': a\.labels\.png and a_mask\.png"):
        folder(root)


def test_labels_in_npz_are_read_and_what_is_no_label_is_named(make_folder):
    root = make_folder(labelled=[])
    np.savez(root / "labels" / "a.npz", labels=two_objects())
    label = folder(root)["a"].label
    assert label is not None
    np.testing.assert_array_equal(label.read(), two_objects())
    (root / "labels" / "a.npz").rename(root / "labels" / "a.mat")
    with pytest.raises(
        InputError, match=r"no label file; there is a\.mat, and labels end in \.ome"
    ):
        folder(root)
    (root / "labels" / "a.mat").rename(root / "labels" / "a.jpg")
    with pytest.raises(
        InputError, match=r"no label file; there is a\.jpg, and JPEG changes labels"
    ):
        folder(root)


def test_problems_of_pictures_of_classes_are_told(make_folder):
    root = make_folder()
    shutil.copytree(root / "labels", root / "types")
    (root / "types" / "x.png").write_bytes((root / "types" / "a.png").read_bytes())
    (root / "types" / "notes.txt").touch()
    dataset = folder(root, types="types", classes=("one", "two"))
    assert dataset.problems == (
        "types: 1 label without an image: x.png",
        "types: what is no label file is left out: notes.txt",
    )


def test_without_labels_every_image_is_unlabelled(make_folder):
    root = make_folder()
    assert len(folder(root, labels=None).labelled) == 0
    for file in (root / "labels").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="holds no label file; put the masks there"):
        folder(root)
    (root / "labels").rmdir()
    dataset = folder(root)
    assert len(dataset.labelled) == 0
    assert "every image is unlabelled" in dataset.notes[0]


def test_an_ome_zarr_folder_is_one_image(make_folder):
    zarr = pytest.importorskip("zarr")
    root = make_folder()
    group = zarr.open_group(root / "images" / "d.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.ones((1, 32, 40), np.uint8))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    dataset = folder(root)
    assert dataset.ids == ("a", "b", "c", "d")
    assert dataset["d"].image.open().shape == (32, 40)


def test_strays_are_problems_not_errors(make_folder):
    root = make_folder(index="id,split\na,train\nb,val\nx,test\n")
    write_labels(root / "labels" / "y.png", two_objects())
    (root / "labels" / "readme.md").touch()
    (root / "images" / "notes.txt").touch()
    (root / "images" / ".hidden").touch()
    problems = "\n".join(folder(root).problems)
    assert "index.csv: 1 row of no image: x" in problems
    assert "index.csv: 1 image without a row: c" in problems
    assert "1 label without an image: y.png" in problems
    assert "images/ holds what is no image and is left out: notes.txt" in problems
    assert "labels: what is no label file is left out: readme.md" in problems
    assert ".hidden" not in problems


def test_a_damaged_first_image_does_not_hide_the_others(make_folder):
    root = make_folder()
    (root / "images" / "a.png").write_bytes(b"no png")
    assert folder(root).channels == ("grey",)


def test_no_readable_image_at_all(make_folder):
    root = make_folder(names=["a"])
    (root / "images" / "a.png").write_bytes(b"no png")
    with pytest.raises(InputError, match=r"a\.png"):
        folder(root)


@pytest.mark.parametrize("missing", ["everything", "images", "files"])
def test_a_wrong_layout_says_what_is_expected(tmp_path: Path, missing: str):
    root = tmp_path / "set"
    if missing != "everything":
        root.mkdir()
    if missing == "files":
        (root / "images").mkdir()
    with pytest.raises(InputError, match=r"(?s)Expected is.*images/.*labels/.*index.csv") as caught:
        folder(root)
    assert str(root) in str(caught.value)


def test_two_images_of_one_name(make_folder):
    root = make_folder()
    PIL.Image.new("L", (40, 32)).save(root / "images" / "a.tif")
    with pytest.raises(InputError, match=r"both a\.png and a\.tif"):
        folder(root)


def test_labels_of_other_images(make_folder):
    root = make_folder(labelled=["x", "y"])
    with pytest.raises(InputError, match=r"no label in .* has the name of an image.*x\.png"):
        folder(root)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("", "is empty"),
        ("file,split\na,train\n", r"no column that names the image \(id, image, name\).*file"),
        ("id,split\na,dev\n", "image 'a' has the split 'dev'; allowed are train, val, test"),
        ("id\na\na\n", "image 'a' has two rows"),
        ("id\nx\ny\n", "no row names an image: column 'id' holds x, y, but the images are a.png"),
        ("id,split\na,train,7\n", "row 2 has 3 values, but there are 2 columns"),
    ],
)
def test_a_wrong_table_names_the_file_and_the_row(make_folder, index: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        folder(make_folder(index=index))
    assert "index.csv" in str(caught.value)


def test_a_table_of_another_encoding(make_folder):
    root = make_folder()
    (root / "index.csv").write_bytes("id,µ\na,1\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"index\.csv cannot be read as a UTF-8 table"):
        folder(root)


def test_tables_of_spreadsheet_programs(make_folder):
    root = make_folder()
    (root / "index.csv").write_text("id;split\na;train\nb; val\n", encoding="utf-8-sig")
    assert [record.split for record in folder(root)] == ["train", "val", None]


@pytest.mark.real
def test_real_folders(data_root: Path):
    dsb = folder(data_root / "dsb2018")
    assert (len(dsb), len(dsb.labelled), dsb.problems) == (532, 532, ())
    assert len(dsb.where(kind="fluo")) == 433
    assert dsb.where(kind="colour").channels == ("red", "green", "blue")
    codex = folder(data_root / "codex_2ch", labels="labels/expert1")
    assert codex.channels == ("nucleus", "cytoplasm", "membrane")
    with pytest.raises(InputError, match="labels/expert1, labels/expert2"):
        folder(data_root / "codex_2ch")
    polyps = folder(data_root / "polyp_cvc", group="sequence")
    assert len({record.group for record in polyps}) == 24


def test_types_number_the_classes_of_pixels(make_folder):
    root = make_folder()
    write_labels(root / "types" / "a.png", np.eye(32, 40, dtype=np.int32) * 2)
    dataset = folder(root, types="types", classes=("tumour", "lymphocyte"))
    assert dataset["b"].types is None
    assert dataset["a"].types is not None
    np.testing.assert_array_equal(dataset["a"].types.read(), np.eye(32, 40) * 2)  # not renumbered
    write_labels(root / "types" / "a.png", np.eye(32, 40, dtype=np.int32) * 3)
    with pytest.raises(InputError, match=r"0 to 3 are not in the list of classes, 0 \(none\) to 2"):
        dataset["a"].types.read()


def test_the_column_class_names_the_classes(make_folder):
    root = make_folder({"a": None, "b": None, "c": None})
    (root / "index.csv").write_text("id,class\na,tumour\nb,\nc,stroma\n")
    assert folder(root).classes == ("stroma", "tumour")
    assert folder(root, classes=("tumour", "stroma")).classes == ("tumour", "stroma")


def test_labels_may_be_called_labels_and_a_plain_name_comes_first(make_folder):
    root = make_folder(labelled=["a"])
    for id in ("a", "b"):
        write_labels(root / "labels" / f"{id}.labels.png", two_objects())
    dataset = folder(root)
    assert dataset.labelled.ids == ("a", "b")
    files = [record.label.path.name for record in dataset if isinstance(record.label, FileLabel)]
    assert files == ["a.png", "b.labels.png"]
    assert dataset.problems == ("labels: 1 label without an image: a.labels.png",)


def test_masks_beside_copies_of_their_images_are_the_labels(make_folder):
    root = make_folder(names=["a", "b"], labelled=[])
    (root / "labels").rmdir()
    for id, end in (("a", "_cp_masks"), ("b", "_masks")):
        (root / "cellpose").mkdir(exist_ok=True)
        (root / "cellpose" / f"{id}.png").write_bytes((root / "images" / f"{id}.png").read_bytes())
        write_labels(root / "cellpose" / f"{id}{end}.png", two_objects())
        (root / "cellpose" / f"{id}_seg.npy").write_bytes(b"pickled")
    dataset = folder(root, labels="cellpose")
    names = [record.label.path.name for record in dataset if isinstance(record.label, FileLabel)]
    assert names == ["a_cp_masks.png", "b_masks.png"]
    (problem,) = dataset.problems
    assert problem.endswith("taken for copies of images, as masks lie beside them: a.png, b.png")


def test_masks_beside_the_images_are_no_images(make_folder):
    root = make_folder(names=["a", "b", "c_mask"], labelled=["b"])
    write_labels(root / "images" / "a_cp_masks.tif", two_objects())
    (root / "images" / "a_seg.npy").write_bytes(b"pickled")
    dataset = folder(root)
    assert dataset.ids == ("a", "b", "c_mask")  # there is no image c
    assert dataset.problems[0].endswith("which are no images: a_cp_masks.tif, a_seg.npy")
    assert dataset.labelled.ids == ("b",)
    shutil.rmtree(root / "labels")
    dataset = folder(root)
    assert dataset.labelled.ids == ("a",)
    assert dataset.notes == (
        "there is no folder labels/: masks beside the images are taken, 1 of them",
    )


def test_an_image_in_the_place_of_its_mask_is_an_error(make_folder):
    root = make_folder(names=["a", "b"], labelled=["b"])
    sparse = np.kron(two_objects((16, 20)) * 40, np.ones((2, 2), int)).astype(np.uint8)
    for kind in ("images", "labels"):
        PIL.Image.fromarray(sparse).save(root / kind / "a.png")
    dataset = folder(root)
    (problem,) = (each for each in check(dataset).problems if "label" in each.what)
    assert (problem.what, problem.where[0][0]) == ("label cannot be used", "a")
    with pytest.raises(InputError, match="a: the label has the same pixels as the image"):
        label_of(dataset["a"], dataset["a"].image.open())
    assert label_of(dataset["b"], dataset["b"].image.open()) is not None


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_with_a_meaning_may_be_written_in_any_case(make_folder, mark: str):
    table = "Image, Split ,GROUP,Class,Stain\na,Train,p1,tumour,DAPI\nb,TEST,p2,stroma,\n"
    root = make_folder(names=["a", "b"], index=table.replace(",", mark))
    dataset = folder(root)
    assert [(each.split, each.group) for each in dataset] == [("train", "p1"), ("test", "p2")]
    assert dataset.classes == ("stroma", "tumour")
    assert folder(root, group="GROUP")["a"].group == "p1"
    assert dataset.where(Stain="DAPI").ids == ("a",)
    file = root / "splits.csv"
    file.write_text("ID;SPLIT\na;Test\nb;train\n")
    assert assign_splits(dataset, file=file)["a"].split == "test"


def test_a_column_that_is_there_in_two_spellings(make_folder):
    root = make_folder(names=["a"], index="id,split,Split\na,train,x\n")
    assert folder(root)["a"].split == "train"
    (root / "index.csv").write_text("id,SPLIT,Split\na,train,x\n")
    with pytest.raises(InputError, match="the columns 'SPLIT' and 'Split'; keep one"):
        folder(root)


def test_letters_with_and_without_their_marks_composed_are_the_same(make_folder):
    apart, composed = (unicodedata.normalize(form, "Zelle_ä") for form in ("NFD", "NFC"))
    assert apart != composed
    root = make_folder(names=[apart, "plain"], labelled=[composed])
    (root / "index.csv").write_text(f"id,split\n{apart},val\nplain.png,train\n", encoding="utf-8")
    dataset = folder(root)
    assert dataset.ids == (composed, "plain")
    assert dataset.labelled.ids == (composed,)
    assert dataset[composed].split == "val"
    assert dataset.problems == ()
    assert dataset[composed].image.open().shape == (32, 40)


def test_a_number_that_means_unknown(make_folder):
    root = make_folder(names=["a"])
    labels = two_objects()
    labels[-3:] = 255
    write_labels(root / "labels" / "a.png", labels)
    write_labels(root / "types" / "a.png", labels)
    dataset = folder(root, ignore=255, types="types", classes=("x", "y"))
    record = dataset["a"]
    assert record.label is not None
    assert record.types is not None
    for found in (record.label.read(), record.types.read()):
        np.testing.assert_array_equal(found, np.where(labels == 255, -1, labels))
    report = check(folder(root))
    assert any("may mean 'ignore'" in each.what for each in report.problems)
    assert not any("may mean 'ignore'" in each.what for each in check(dataset).problems)


def test_images_of_kinds_that_are_not_read_are_said(make_folder):
    root = make_folder()
    for name in ("x.dcm", "y.DCM", "z.czi", "notes.txt"):
        (root / "images" / name).write_bytes(b"x")
    unread, rest = folder(root).problems
    assert "3 image files of kinds that Abbe does not read are left out (2 .dcm, 1 .czi;" in unread
    assert "Convert them to TIFF or OME-Zarr" in unread
    assert rest == "images/ holds what is no image and is left out: notes.txt"
    for file in (root / "images").glob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match=r"3 image files of kinds .*\n.*holds no image that Abbe"):
        folder(root)


@pytest.mark.parametrize("name", ["images", "labels"])
def test_a_folder_that_may_not_be_read_is_named(make_folder, capsys, monkeypatch, name):
    root = make_folder(names=["a", "b"], labelled=["a"])
    forbid(root / name, monkeypatch)
    assert abbe("data", "check", root) == 1
    said = capsys.readouterr()
    assert f"{root / name}: the folder cannot be read (Permission denied). Change its" in said.err
    assert "Traceback" not in said.err


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_folders_within_images_are_said_and_the_others_go_on(make_folder, capsys, monkeypatch):
    """One that links back, a link to itself, and one that may not be read."""
    root = make_folder(names=["a", "b"], labelled=["a"])
    (root / "images" / "back").symlink_to(root / "images")
    (root / "images" / "self").symlink_to(root / "images" / "self")
    (root / "images" / "closed").mkdir()
    forbid(root / "images" / "closed", monkeypatch)
    assert folder(root).ids == ("a", "b")
    assert folder(root).problems == (
        "images/ holds what is no image and is left out: back, closed, self",
    )
    abbe("data", "check", root)
    said = capsys.readouterr()
    assert "back, closed, self" in said.out
    assert "Traceback" not in said.err


def test_all_names_that_collide_are_told_at_once(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "a.tif", "b.png", "b.npy"):
        (tmp_path / "images" / name).touch()
    with pytest.raises(
        InputError, match=r"both a\.png and a\.tif, b\.npy and b\.png; names without"
    ):
        folder(tmp_path)
