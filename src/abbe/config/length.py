"""Keys that say the same: how long a stage trains, in steps or in passes, never in both."""

from collections.abc import Iterable, Mapping
from typing import Any

RIVALS = (
    ("training", "steps", "passes"),
    ("pretraining", "steps", "passes"),
    ("promptable", "decoder_steps", "decoder_passes"),
)
"""Section, and two keys of it that say the same."""


def one_length(values: Any, steps: str, passes: str, usual: int) -> Any:
    """The values of a section with one of two keys; the usual steps where they have neither.

    Raises:
        ValueError: they have both.
    """
    if not isinstance(values, Mapping):
        return values
    if values.get(steps) is not None and values.get(passes) is not None:
        raise ValueError(
            f"{steps} ({values[steps]}) and {passes} ({values[passes]}) both say how long: leave "
            "one of them out"
        )
    if values.get(steps) is None and values.get(passes) is None:
        return {**values, steps: usual}
    return values


def without_rivals(values: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """The contents of an experiment file without what is given anew in another way.

    A length in steps replaces one in passes, and ``evidence`` what the file says of seeds and
    baselines.

    Args:
        values: of the file.
        given: keys that will replace others of the file, such as ``training.steps``.

    >>> without_rivals({"training": {"passes": 30, "crop": 64}}, {"training.steps"})
    {'training': {'crop': 64}}
    """
    kept, given = dict(values), set(given)
    for section, *names in RIVALS:
        for name, rival in (names, reversed(names)):
            inner = kept.get(section)
            if f"{section}.{name}" in given and isinstance(inner, Mapping):
                kept[section] = {key: value for key, value in inner.items() if key != rival}
    if "evidence" in given:
        kept = {key: value for key, value in kept.items() if key not in ("seeds", "baselines")}
    return kept


def keys_of(words: Iterable[str]) -> set[str]:
    """Keys of the experiment file among the words of a command line.

    >>> sorted(keys_of(["--training.steps", "4", "--student.encoder-weights=random"]))
    ['student.encoder_weights', 'training.steps']
    """
    options = (word[2:].partition("=")[0] for word in words if word.startswith("--"))
    return {option.replace("-", "_") for option in options}
