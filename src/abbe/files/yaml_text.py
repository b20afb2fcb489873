"""YAML of plain values, in which no key stands twice."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader takes the last of two equal keys, and nobody sees the other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            # Merged keys (<<) may be given again: that is what merging is for.
            key = None if key_node.tag.endswith(":merge") else self.construct_object(key_node, True)
            if isinstance(key, Hashable) and key is not None:
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key}' stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str | bytes) -> Any:
    """Read plain values: text, numbers, lists and mappings; no tag makes anything else of them.

    Raises:
        yaml.YAMLError: it is no YAML, it holds a tag of some program, a key stands twice, or it is
            nested too deeply.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
