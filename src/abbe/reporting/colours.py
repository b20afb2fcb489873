"""Which colour and line stands for which model: the same everywhere on the page."""

from collections.abc import Iterable, Sequence

from abbe.imaging.pictures.legend import class_colour

# Blue, vermilion and green of Okabe & Ito's palette, which colour-blind readers tell apart; the
# twin's lines are dashed too, so that a grey print still shows which is which.
_KNOWN = {"truth": "#8a8f98", "teacher": "#009e73", "student": "#1a7fd4", "twin": "#d55e00"}
_KNOWN |= {"supervised": "#a07d00", "self-training": "#b0609c"}
# What networks of a label-efficiency curve begin with.
_INITIALISATIONS = {
    "random": "#7a7a7a",
    "given": "#a07d00",
    "contrastive": "#d55e00",
    "rckd": "#1a7fd4",
    "rckd+contrastive": "#009e73",
}
_OTHERS = ("#4a5f9e", "#7a7a7a", "#008b8b", "#8b5a2b")


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """The colour of each class, as in overviews.

    >>> class_colours(["background", "tumour"])["tumour"]
    '#e69f00'
    """
    return {name: "#{:02x}{:02x}{:02x}".format(*class_colour(n)) for n, name in enumerate(classes)}


def colours_of(models: Iterable[str]) -> dict[str, str]:
    """A colour ("#rrggbb") for the truth and for each of ``models``."""
    models = list(models)
    known = _KNOWN | {name: _INITIALISATIONS[name] for name in models if name in _INITIALISATIONS}
    others = [model for model in models if model not in known]
    return known | {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
