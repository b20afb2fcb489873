"""Tables of boxes and points, several rows an object, and folders of masks."""

import unicodedata

import numpy as np
import pytest

from abbe.errors import InputError
from abbe.imaging import write_labels
from abbe.runtime.predictors.prompt_files import mask_files, read_prompts


def read(tmp_path, text):
    (tmp_path / "prompts.csv").write_text(text)
    return read_prompts(tmp_path / "prompts.csv")


def test_each_box_is_an_object(tmp_path):
    prompts = read(tmp_path, "id,x0,y0,x1,y1\na,1,2,3,4\na,0,0,9,9\nb,,,,\n")
    assert [prompt.box for prompt in prompts("a", (9, 9))] == [(1, 2, 3, 4), (0, 0, 9, 9)]
    assert prompts("b", (9, 9)) == []
    with pytest.raises(InputError, match="no row for the image 'c'"):
        prompts("c", (9, 9))


def test_points_beside_boxes_are_no_matter(tmp_path):
    text = "id,x0,y0,x1,y1,x,y,positive\na,1,2,3,4,2,3,1\nb,,,,,,,\n"
    prompts = read(tmp_path, text)
    assert [prompt.box for prompt in prompts("a", (9, 9))] == [(1, 2, 3, 4)]
    assert prompts("b", (9, 9)) == []


def test_an_id_with_the_ending_of_a_file_is_named(tmp_path):
    prompts = read(tmp_path, "id,x,y\na.png,1,2\n")
    with pytest.raises(InputError, match=r"no row for the image 'a' and 'a\.png' is none"):
        prompts("a", (9, 9))


def test_points_that_share_an_object_are_one_prompt(tmp_path):
    text = "id,object,x,y,positive\na,first,1,2,1\na,second,5,5,\na,first,3,4.5,0\n"
    first, second = read(tmp_path, text)("a", (9, 9))
    assert (first.name, first.points, first.labels) == ("first", [(1, 2), (3, 4.5)], [1, 0])
    assert (second.points, second.labels) == ([(5, 5)], [1])


def test_points_without_an_object_are_one_each(tmp_path):
    prompts = read(tmp_path, "id,x,y\na,1,2\na,3,4\n")("a", (9, 9))
    assert [prompt.points for prompt in prompts] == [[(1, 2)], [(3, 4)]]


def test_masks_give_the_boxes_of_their_objects(tmp_path):
    labels = np.zeros((12, 16), np.int32)
    labels[2:5, 3:9], labels[6:, 0] = 1, 2
    write_labels(tmp_path / "a.tif", labels)
    prompts = read_prompts(tmp_path)
    assert [prompt.box for prompt in prompts("a", (12, 16))] == [(3, 2, 9, 5), (0, 6, 1, 12)]
    with pytest.raises(InputError, match="12 × 16 px, but the image has 12 × 15"):
        prompts("a", (12, 15))
    with pytest.raises(InputError, match="no mask for the image 'b'"):
        prompts("b", (12, 16))


def test_masks_may_be_called_labels_and_a_plain_name_comes_first(tmp_path):
    for name in ("a.labels.png", "b.labels.tif", "b.png"):
        write_labels(tmp_path / name, np.ones((3, 4), np.int32))
    named = {"a": "a.labels.png", "b": "b.png"}
    assert mask_files(tmp_path) == {id: tmp_path / name for id, name in named.items()}
    asked = {"a": tmp_path / "a.labels.png", "b": tmp_path / "b.labels.tif"}
    assert mask_files(tmp_path, ".labels") == asked


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,x\na,1\n", "needs the columns id and x0, y0, x1, y1, or id and x, y"),
        ("", "is empty"),
        ("x,y\n1,2\n", "needs the columns id, x, y"),
        ("id,x,y\na,1,z\n", "line 2: x, y must be numbers"),
        ("id,x,y,positive\na,1,2,yes\n", "line 2: positive is 'yes'"),
        ("id,object,x0,y0,x1,y1\na,o,1,2,3,4\na,o,1,2,3,4\n", "has a box already"),
        ("id,x0,y0,x1,y1,x,y\na,1,2,3,4,,\na,,,,,5,6\n", "line 3: has x and y but no box"),
        ("id,x0,y0,x1,y1,y\na,,,,,5\n", "line 2: has y but no box"),
        ("id,x0,y0,x1,y1,positive\na,1,2,3,4,0\n", "line 2: positive is '0'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        read(tmp_path, text)


@pytest.mark.parametrize("sides", ["w,h", "W,H", "width,height"])
def test_boxes_as_coco_has_them_are_not_read_as_points(tmp_path, sides):
    with pytest.raises(InputError, match=sides.replace(",", " and ") + r" .*x1 = x \+ w"):
        read(tmp_path, f"id,x,y,{sides}\na,10,10,20,20\n")


@pytest.mark.parametrize(
    "text",
    [
        "id;x0;y0;x1;y1\na;10;11;30;31\n",
        "id, x0, y0, x1, y1\na, 10, 11, 30, 31\n",
        "ID\tX0\tY0\tX1\tY1\na\t10\t11\t30\t31\n",
        "\ufeffId,x0,y0,x1,y1\na,10,11,30,31\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, text):
    (prompt,) = read(tmp_path, text)("a", (90, 90))
    assert prompt.box == (10, 11, 30, 31)


def test_names_are_found_however_their_letters_are_composed(tmp_path):
    apart, composed = (unicodedata.normalize(form, "ä") for form in ("NFD", "NFC"))
    table = read(tmp_path, f"id,x,y\n{apart},1,2\n")
    assert len(table(composed, (9, 9))) == len(table(apart, (9, 9))) == 1
    write_labels(tmp_path / "masks" / f"{apart}.png", np.eye(9, dtype=np.int32))
    masks = read_prompts(tmp_path / "masks")
    assert len(masks(composed, (9, 9))) == len(masks(apart, (9, 9))) == 1


def test_masks_go_before_copies_of_their_images(tmp_path):
    for name in ("a.tif", "a_cp_masks.png", "a_seg.npy", "b_mask.png", "c.png"):
        (tmp_path / name).write_bytes(b"-")
    files = {id: path.name for id, path in mask_files(tmp_path).items()}
    assert files == {"a": "a_cp_masks.png", "b": "b_mask.png", "c": "c.png"}
    assert list(mask_files(tmp_path, "_mask")) == ["b"]
