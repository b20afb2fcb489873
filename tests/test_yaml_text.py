"""YAML of plain values."""

import pytest
import yaml

from abbe.files.yaml_text import read_yaml


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 2\n", "a: {b: 1, c: 2, b: 1}\n", "- {1: x, 1: y}\n"]
)
def test_a_key_that_stands_twice_is_refused(text: str):
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        read_yaml(text)


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system ['touch x']", "!!python/name:os.system ''"]
)
def test_tags_of_programs_are_refused(text: str):
    with pytest.raises(yaml.YAMLError, match="constructor"):
        read_yaml(text)


def test_merged_keys_may_be_given_again():
    text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n"
    assert read_yaml(text)["own"] == {"a": 1, "b": 3}
    assert read_yaml(b"a: [1, {b: x}]") == {"a": [1, {"b": "x"}]}
