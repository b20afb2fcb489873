import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_of_datasets import dataset_of, record
from hypothesis import given
from hypothesis import strategies as st

from abbe.datasets import Dataset, assign_splits, choose_labelled, folder, require_split
from abbe.datasets.collection import SPLITS, Split
from abbe.errors import InputError


def many(count: int, per_group: int = 1, labelled: Callable[[int], bool] = lambda _: True):
    return dataset_of(
        *(
            record(
                f"image {index}",
                group=f"group {index // per_group}" if per_group > 1 else None,
                labelled=labelled(index),
            )
            for index in range(count)
        )
    )


def counts(dataset: Dataset) -> dict[str | None, int]:
    return dict(Counter(item.split for item in dataset))


def test_fractions_are_met_exactly_without_groups():
    assert counts(assign_splits(many(100))) == {"train": 70, "val": 10, "test": 20}


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    dataset = many(60, per_group=3)
    shuffled = list(dataset)
    random.Random(1).shuffle(shuffled)
    first = {item.id: item.split for item in assign_splits(dataset, seed=4)}
    again = {item.id: item.split for item in assign_splits(dataset_of(*shuffled), seed=4)}
    other = {item.id: item.split for item in assign_splits(dataset, seed=5)}
    assert first == again
    assert first != other


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=30),
    seed=st.integers(0, 100),
)
def test_groups_stay_whole_and_no_split_is_empty(sizes: list[int], seed: int):
    dataset = dataset_of(
        *(
            record(f"{group}-{index}", group=str(group))
            for group, size in enumerate(sizes)
            for index in range(size)
        )
    )
    divided = assign_splits(dataset, seed=seed)
    splits: dict[str | None, set[str | None]] = {}
    for item in divided:
        splits.setdefault(item.group, set()).add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set(counts(divided)) == {"train", "val", "test"}


def test_groups_of_equal_size_meet_the_fractions_as_nearly_as_they_can():
    assert counts(assign_splits(many(100, per_group=10))) == {"train": 70, "val": 10, "test": 20}


def test_images_without_label_go_to_train_if_others_have_one():
    dataset = many(50, labelled=lambda index: index < 10)
    divided = assign_splits(dataset)
    assert counts(divided.labelled) == {"train": 7, "val": 1, "test": 2}
    assert set(counts(divided.unlabelled)) == {"train"}
    assert counts(assign_splits(many(50, labelled=lambda _: False)))["test"] == 10


def test_an_unlabelled_image_stays_with_its_labelled_group():
    dataset = many(40, per_group=4, labelled=lambda index: index % 4 == 0)
    for group in range(10):
        members = [item for item in assign_splits(dataset) if item.group == f"group {group}"]
        assert len({item.split for item in members}) == 1


def classed(sizes: dict[str, int], per_group: int = 1) -> Dataset:
    records = [
        replace(
            record(f"{name} {n}", group=f"{name} {n // per_group}" if per_group > 1 else None),
            label=None,
            columns={"class": name},
        )
        for name, size in sizes.items()
        for n in range(size)
    ]
    return replace(dataset_of(*records), classes=tuple(sizes))


def by_class(dataset: Dataset, split: Split) -> dict[str, int]:
    return dict(Counter(item.columns["class"] for item in dataset.split(split)))


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_in_every_split(seed: int):
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    dataset = assign_splits(
        classed({"many": 150, "some": 40, "few": 6}), fractions=fractions, seed=seed
    )
    assert by_class(dataset, "train") == {"many": 90, "some": 24, "few": 4}
    assert by_class(dataset, "val") == {"many": 30, "some": 8, "few": 1}
    assert by_class(dataset, "test") == {"many": 30, "some": 8, "few": 1}


def test_classes_are_shared_out_in_whole_groups():
    fractions = {"train": 0.5, "val": 0.25, "test": 0.25}
    sets = classed({"many": 90, "few": 20}, per_group=5)
    dataset = assign_splits(sets, fractions=fractions, seed=3)
    assert len({(item.unit, item.split) for item in dataset}) == len({i.unit for i in dataset})
    assert [by_class(dataset, split)["few"] for split in SPLITS] == [10, 5, 5]


def test_masks_do_not_decide_where_classes_count():
    """Images without a lesion have a class and no mask."""
    lesions = classed({"lesion": 60})
    masked = [replace(item, label=record("x").label) for item in lesions]
    dataset = replace(lesions, records=(*masked, *classed({"normal": 40})), classes=())
    test = assign_splits(dataset, by_class=True).split("test")
    assert dict(Counter(item.columns["class"] for item in test)) == {"lesion": 12, "normal": 8}
    without = assign_splits(dataset).split("test")
    assert {item.columns["class"] for item in without} == {"lesion"}


def test_a_split_can_be_left_out():
    divided = assign_splits(many(10), fractions={"train": 0.8, "test": 0.2})
    assert counts(divided) == {"train": 8, "test": 2}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "test": 0.2}, "must add up to 1, not 0.7"),
        ({"train": 1.5, "test": -0.5}, "between 0 and 1, not train: 1.5"),
        ({"train": 0.5, "dev": 0.5}, "not dev: 0.5"),
    ],
)
def test_impossible_fractions(fractions: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        assign_splits(many(10), fractions=fractions)


def test_too_few_groups():
    dataset = dataset_of(*(record(str(index), group=str(index % 2)) for index in range(10)))
    with pytest.raises(InputError, match=r"train, val, test.*there are 2 \(0, 1\)"):
        assign_splits(dataset)


def test_a_column_gives_the_splits(make_folder):
    dataset = folder(make_folder(index="id,fold,group\na,train,1\nb,test,1\nc,,2\n"))
    with pytest.raises(InputError, match="group '1' is in train and test"):
        assign_splits(dataset, column="fold")
    with pytest.raises(InputError, match=r"no splits in a column 'folds'.*fold, group, id"):
        assign_splits(dataset, column="folds")
    with pytest.raises(InputError, match="column 'group': image 'a' has the split '1'"):
        assign_splits(dataset, column="group")


def test_a_file_gives_the_splits(make_folder, tmp_path: Path):
    dataset = folder(make_folder())
    file = tmp_path / "splits.csv"
    file.write_text("image,split\na,train\nb,test\nnot here,val\n")
    divided = assign_splits(dataset, file=file)
    assert [item.split for item in divided] == ["train", "test", None]
    assert divided.problems[-1] == f"{file}: 1 image without a split, not used: c"
    for text, message in (
        ("image,fold\na,train\n", "no column 'split'; its columns are: image, fold"),
        ("image,split\na,dev\n", "splits.csv: image 'a' has the split 'dev'"),
        (
            "image,split\na,train\na,test\n",
            "csv: image 'a' has the splits train and test; keep one",
        ),
        ("image,split,split\na,train,test\n", "csv has the column 'split' twice; keep one"),
        ("image,split\nx,val\n", "names no image of data set 'set': it holds x.* a, b"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            assign_splits(dataset, file=file)
    with pytest.raises(InputError, match=r"missing\.csv cannot be read"):
        assign_splits(dataset, file=tmp_path / "missing.csv")
    with pytest.raises(InputError, match="column or from a file"):
        assign_splits(dataset, file=file, column="split")


def typed(count: int) -> Dataset:
    """Images whose pixels have classes, and of which no object is known."""
    whole = many(count)
    return replace(
        whole.having(replace(item, label=None, types=item.label) for item in whole),
        classes=("tumour", "stroma"),
    )


def test_images_whose_pixels_have_classes_are_split_and_chosen_like_labelled_ones():
    divided = assign_splits(typed(20))
    assert counts(divided) == {"train": 14, "val": 2, "test": 4}
    chosen = choose_labelled(divided, 3)
    assert [sum(item.annotated for item in chosen.split(each)) for each in SPLITS] == [3, 2, 4]
    assert "20 labelled" in repr(divided)
    bare = divided.having(replace(item, types=None) for item in many(20))
    assert counts(assign_splits(bare)) == {"train": 14, "val": 2, "test": 4}


def test_an_empty_split_is_an_error_where_it_is_needed():
    dataset = dataset_of(record("a", split="train"), record("b", split="val", labelled=False))
    assert require_split(dataset, "train").ids == ("a",)
    with pytest.raises(InputError, match=r"no test images \(of 2 images: train 1, val 1, test 0\)"):
        require_split(dataset, "test")
    with pytest.raises(InputError, match="no val images with a label"):
        require_split(dataset, "val", labelled=True)
    with pytest.raises(InputError, match="no train images"):
        require_split(dataset_of(record("a")), "train")


def test_choosing_labels_touches_train_only():
    dataset = assign_splits(many(100))
    chosen = choose_labelled(dataset, 20, seed=1)
    assert chosen.ids == dataset.ids
    assert counts(chosen.labelled) == {"train": 20, "val": 10, "test": 20}
    assert counts(chosen.unlabelled) == {"train": 50}
    assert choose_labelled(dataset, 20, seed=1).labelled.ids == chosen.labelled.ids
    assert choose_labelled(dataset, 20, seed=2).labelled.ids != chosen.labelled.ids


def test_a_larger_choice_contains_the_smaller_one():
    dataset = assign_splits(many(100))
    few, more = (set(choose_labelled(dataset, amount).labelled.ids) for amount in (5, 0.5))
    assert few < more


@pytest.mark.parametrize(("amount", "kept"), [(0, 0), (1, 1), (1.0, 70), (0.1, 7), (0.001, 1)])
def test_counts_and_shares_of_labels(amount: float, kept: int):
    chosen = choose_labelled(assign_splits(many(100)), amount)
    assert len(chosen.split("train").labelled) == kept


def test_more_labels_than_there_are():
    dataset = assign_splits(many(10))
    with pytest.raises(InputError, match=r"8 labelled training images were asked for.*has 7"):
        choose_labelled(dataset, 8)
    with pytest.raises(InputError, match=r"between 0 and 1, not 1.5"):
        choose_labelled(dataset, 1.5)
    with pytest.raises(InputError, match="no train images"):
        choose_labelled(many(10), 2)
