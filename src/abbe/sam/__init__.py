"""The Segment Anything family: SAM, MedSAM, micro-sam and MobileSAM, in plain torch.

The networks keep the parameter names of the original checkpoints and give the same numbers. What
is new is the order of work: many prompts on one image share what they can, and masks are drawn
only where they are asked for.
"""

from abbe.sam.checks import require_finite
from abbe.sam.decoder import Attended
from abbe.sam.grid import Found, automatic_masks
from abbe.sam.layout import LAYOUTS, Layout, named_layout
from abbe.sam.letterbox import Letterbox
from abbe.sam.model import SAM, build_sam, network
from abbe.sam.predictor import PromptablePredictor
from abbe.sam.prompts import Prompts
from abbe.sam.size import size_of
from abbe.sam.two_way import ImageTokens
from abbe.sam.weights import Facts, load_sam, save_sam

__all__ = [
    "LAYOUTS",
    "SAM",
    "Attended",
    "Facts",
    "Found",
    "ImageTokens",
    "Layout",
    "Letterbox",
    "PromptablePredictor",
    "Prompts",
    "automatic_masks",
    "build_sam",
    "load_sam",
    "named_layout",
    "network",
    "require_finite",
    "save_sam",
    "size_of",
]
