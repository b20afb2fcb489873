"""Pixels in and out: open any image lazily by region, read and write labels, make pictures."""

from abbe.imaging.channels import lacking, matching
from abbe.imaging.image import Diameter, Image, Region
from abbe.imaging.labels.boundaries import inner_boundary
from abbe.imaging.labels.files import outlines, read_labels, write_labels
from abbe.imaging.normalisation import image_limits, normalise, percentile_limits
from abbe.imaging.opening import AS_THEY_SAY, Reading, open_image
from abbe.imaging.pictures.composite import composite, contact_sheet, draw_outlines, view, write_png
from abbe.imaging.pictures.legend import class_colour, with_legend
from abbe.imaging.scaling import PERCENTILE, Scaling, ScalingKind, scaling_in_words
from abbe.imaging.slide import Slide, open_slide, slide_of
from abbe.imaging.three_channels import ThreeChannelRule, choose_rule, three_channels

__all__ = [
    "AS_THEY_SAY",
    "PERCENTILE",
    "Diameter",
    "Image",
    "Reading",
    "Region",
    "Scaling",
    "ScalingKind",
    "Slide",
    "ThreeChannelRule",
    "choose_rule",
    "class_colour",
    "composite",
    "contact_sheet",
    "draw_outlines",
    "image_limits",
    "inner_boundary",
    "lacking",
    "matching",
    "normalise",
    "open_image",
    "open_slide",
    "outlines",
    "percentile_limits",
    "read_labels",
    "scaling_in_words",
    "slide_of",
    "three_channels",
    "view",
    "with_legend",
    "write_labels",
    "write_png",
]
