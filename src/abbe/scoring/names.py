"""The table of metrics: what each is called in full, and which way is better."""

from typing import NamedTuple

from abbe.scoring.statistics import Scale


class Metric(NamedTuple):
    """A metric's full name, for people, and whether more of it is better."""

    name: str
    higher_is_better: bool

    @property
    def scale(self) -> Scale:
        """What values it can have: 0 to 1 where more is better, else it is a distance."""
        return "share" if self.higher_is_better else "positive"


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", True),
    "iou": Metric("IoU of the masks", True),
    "precision": Metric("Pixel precision", True),
    "recall": Metric("Pixel recall", True),
    "boundary_f1": Metric("Boundary F1", True),
    "nsd": Metric("Normalised surface Dice (NSD)", True),
    "hd95": Metric("Hausdorff distance, 95th percentile (px)", False),
    "f1@0.5": Metric("F1 at IoU 0.5", True),
    "f1@0.6": Metric("F1 at IoU 0.6", True),
    "f1@0.7": Metric("F1 at IoU 0.7", True),
    "f1@0.8": Metric("F1 at IoU 0.8", True),
    "f1@0.9": Metric("F1 at IoU 0.9", True),
    "mean_ap": Metric("Mean average precision TP/(TP+FP+FN) over IoU 0.5:0.05:0.95", True),
    "pq": Metric("Panoptic quality", True),
    "sq": Metric("Segmentation quality (mean IoU of matched objects)", True),
    "rq": Metric("Recognition quality (F1 at IoU 0.5)", True),
    "aji": Metric("Aggregated Jaccard index", True),
}
TYPE_METRICS: dict[str, Metric] = {
    "type_pq": Metric("Panoptic quality by type, mean over types", True),
    "type_f1": Metric("F1 at IoU 0.5 by type, mean over types", True),
    "type_accuracy": Metric("Found objects of the right type", True),
}
