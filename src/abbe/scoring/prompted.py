"""Metrics of promptable networks: those of masks, by the kind of prompt that asked."""

from abbe.scoring.names import METRICS, Metric

PROMPT_KINDS: dict[str, str] = {
    "box": "tight box",
    "1_point": "one point",
    "3_points": "three points",
}
"""How an object is asked for; as in the metrics' keys and for people."""

MEASURED = ("dice", "iou", "hd95", "boundary_f1")


def prompted_key(metric: str, kind: str) -> str:
    """The key of a metric by kind of prompt; boxes come first and have the plain one."""
    return metric if kind == "box" else f"{metric}_{kind}"


PROMPTED_METRICS: dict[str, Metric] = {
    prompted_key(metric, kind): METRICS[metric]._replace(name=f"{METRICS[metric].name}, {words}")
    for kind, words in PROMPT_KINDS.items()
    for metric in MEASURED
}
"""By key; those of boxes have the keys of `METRICS`."""
