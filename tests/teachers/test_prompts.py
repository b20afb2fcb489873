"""Prompts from labels, tables and other programs' masks."""

from typing import Any

import numpy as np
import pytest

from abbe import datasets
from abbe.errors import ConfigError, InputError
from abbe.imaging import write_labels
from abbe.teachers.sam import prompts as prompts_module
from abbe.teachers.sam.prompts import ImagePrompts, boxes_of, fingerprint, points_of

LABELS = np.zeros((12, 16), np.int32)
LABELS[2:5, 3:9] = 1
LABELS[6:12, 0] = 7  # numbers may have gaps, and an object may lie at the edge


def prompter(mode: Any, **sources: Any) -> Any:
    """The prompter, whatever it is: None is a failure wherever a test calls it."""
    return prompts_module.prompter(mode, **sources)


def table(tmp_path, text):
    path = tmp_path / "prompts.csv"
    path.write_text(text)
    return path


def boxes(find, id, shape) -> np.ndarray:
    found = find(id, shape).boxes
    assert found is not None
    return found


def test_boxes_are_tight_around_every_instance():
    assert boxes_of(LABELS).tolist() == [[3, 2, 9, 5], [0, 6, 1, 12]]


def test_unknown_pixels_are_no_object():
    labels = LABELS.copy()
    labels[0, 0] = -1
    assert len(boxes_of(labels)) == len(points_of(labels)) == 2


def test_points_lie_inside_their_instance_even_if_it_is_bent():
    ring = np.zeros((21, 21), np.int32)
    rows, columns = np.mgrid[:21, :21]
    radius = np.hypot(rows - 10, columns - 10)
    ring[(radius > 6) & (radius < 9)] = 1
    ((x, y),) = points_of(ring)
    assert ring[int(y), int(x)] == 1


def test_oracle_boxes_come_from_the_data_set_s_labels():
    tissue = datasets.simulated_tissue(1, size=64)
    record = tissue.records[0]
    find = prompter("oracle_box", labels=tissue)
    assert record.label is not None
    assert np.array_equal(boxes(find, record.id, (64, 64)), boxes_of(record.label.read()))
    with pytest.raises(InputError, match="64 x 64 px but the image 32 x 64"):
        find(record.id, (32, 64))


def test_an_image_without_a_label_is_no_image_without_objects():
    tissue = datasets.simulated_tissue(1, size=64)
    bare = tissue.having(
        [tissue.records[0].__class__(tissue.ids[0], tissue.records[0].image, None)]
    )
    find = prompter("centroid", labels=bare)
    with pytest.raises(InputError, match="has no label"):
        find(tissue.ids[0], (64, 64))


def test_another_program_s_masks_are_a_detector(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS)
    find = prompter("box", source=tmp_path)
    assert boxes(find, "a", LABELS.shape).tolist() == boxes_of(LABELS).tolist()
    with pytest.raises(InputError, match="no mask for the image 'b'"):
        find("b", LABELS.shape)


def test_a_table_of_boxes(tmp_path):
    path = table(tmp_path, "id,x0,y0,x1,y1,score\na,1,2,3,4,0.5\na,0,0,16,12,1\nnone,,,,,\n")
    find = prompter("box", source=path)
    assert boxes(find, "a", (12, 16)).tolist() == [[1, 2, 3, 4], [0, 0, 16, 12]]
    assert len(find("none", (12, 16))) == 0
    with pytest.raises(InputError, match="no row for the image 'b'"):
        find("b", (12, 16))
    with pytest.raises(InputError, match=r"12 px wide .* has the prompt \[0.0, 0.0, 16.0, 12.0\]"):
        find("a", (16, 12))


def test_a_table_of_points(tmp_path):
    find = prompter("point", source=table(tmp_path, "id,x,y\na,1.5,2\n"))
    assert find("a", (12, 16)).points.tolist() == [[[1.5, 2]]]
    assert find("a", (12, 16)).labels.tolist() == [[1]]
    with pytest.raises(InputError, match=r"has the prompt \[1.5, 2.0\]"):
        find("a", (2, 16))


def test_points_of_one_object_share_a_name_and_may_lie_outside_it(tmp_path):
    text = "id,x,y,object,positive\na,4,4,one,1\na,9,9,one,0\na,1,2,two,\nnone,,,,\n"
    find = prompter("point", source=table(tmp_path, text))
    found = find("a", (12, 16))
    assert found.points.tolist() == [[[4, 4], [9, 9]], [[1, 2], [0, 0]]]
    assert found.labels.tolist() == [[1, 0], [1, -1]]
    assert found.centres.tolist() == [[4, 4], [1, 2]]
    assert found.extents.tolist() == [[4, 4, 9, 9], [1, 2, 1, 2]]
    assert len(find("none", (12, 16))) == 0


def test_an_object_with_points_outside_only_is_refused(tmp_path):
    find = prompter("point", source=table(tmp_path, "id,x,y,object,positive\na,4,4,one,0\n"))
    with pytest.raises(InputError, match=r"prompts\.csv: image 'a', object 'one': every point"):
        find("a", (12, 16))


def test_a_table_of_boxes_and_points_is_not_read_as_points(tmp_path):
    path = table(tmp_path, "id,x,y,x0,y0,x1,y1\na,4,4,1,1,6,6\n")
    with pytest.raises(InputError, match="choose prompts 'box'"):
        prompter("point", source=path)
    assert len(prompter("box", source=path)("a", (12, 16))) == 1


def test_rows_that_no_image_asks_for_are_counted(tmp_path, recwarn):
    tissue = datasets.simulated_tissue(1, size=64)
    path = table(tmp_path, f"id,x,y\n{tissue.ids[0]},4,4\nother,4,4\nthird,1,1\n")
    with pytest.warns(UserWarning, match="2 of 3 rows are for ids that no image has.*'other'"):
        prompter("point", source=path, labels=tissue)
    recwarn.clear()
    prompter("point", source=table(tmp_path, f"id,x,y\n{tissue.ids[0]},4,4\n"), labels=tissue)
    assert not recwarn.list


def test_a_fingerprint_changes_with_what_the_prompts_say(tmp_path):
    path = table(tmp_path, "id,x,y\na,1,2\n")
    before = fingerprint(path)
    assert fingerprint(path) == before
    path.write_text("id,x,y\na,1,3\n")
    assert fingerprint(path) != before
    write_labels(tmp_path / "masks" / "a.tif", LABELS)
    folder = fingerprint(tmp_path / "masks")
    write_labels(tmp_path / "masks" / "a.tif", LABELS + 1)
    assert fingerprint(tmp_path / "masks") != folder


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,x0,y0\na,1,2\n", "needs the columns id, x0, y0, x1, y1; it has id, x0, y0"),
        ("", "is empty"),
        ("id,x0,y0,x1,y1\na,1,2,x,4\n", "line 2: x0, y0, x1, y1 must be numbers"),
        ("id,x0,y0,x1,y1\na,1,2,,4\n", "line 2"),
        ("id,x0,y0,x1,y1\na,3,2,3,4\n", "box of no area"),
        ("id,x0,y0,x1,y1\na,1,2,nan,4\n", "must be numbers"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        prompter("box", source=table(tmp_path, text))("a", (12, 16))


def test_missing_sources_and_unknown_modes_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"prompts 'boxes' are unknown\. There are: amg"):
        prompter("boxes")
    with pytest.raises(ConfigError, match="give labels="):
        prompter("oracle_box")
    with pytest.raises(ConfigError, match="give prompt_file="):
        prompter("point")
    with pytest.raises(InputError, match="cannot be read as a UTF-8 table"):
        prompter("box", source=tmp_path / "none.csv")
    assert prompter("amg") is None


def test_prompts_are_shared_out_and_moved_with_their_tile():
    prompts = ImagePrompts(boxes=np.array([[0, 0, 4, 4], [10.0, 2, 14, 6]]))
    assert prompts.centres.tolist() == [[2, 2], [12, 4]]
    taken = prompts.take(np.array([False, True])).moved(-8, -1)
    assert taken.boxes is not None
    assert taken.boxes.tolist() == [[2, 1, 6, 5]]
