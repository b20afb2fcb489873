"""Students: the small networks that learn, their size, their files, and their predictions."""

from abbe.students.classifier import Classifier, build_classifier
from abbe.students.encoders import EncoderWeights
from abbe.students.files.classifiers import load_classifier, save_classifier
from abbe.students.files.encoders import (
    copy_encoder,
    encoder_facts,
    encoder_of,
    encoder_state,
    load_encoder,
    pretrained_cfg,
    save_encoder,
)
from abbe.students.files.promptable import is_promptable_file, load_promptable, save_promptable
from abbe.students.files.weights import load, load_any, save
from abbe.students.predict import predict, predict_together, together
from abbe.students.probe import LinearProbe
from abbe.students.promptable import (
    PROMPTABLE_ARCHITECTURES,
    PromptableEncoder,
    build_promptable,
    copy_decoder,
    is_promptable,
)
from abbe.students.response import ResponseNetwork
from abbe.students.size import Size, count
from abbe.students.standardisation import NOTHING, Standardisation, Standardised
from abbe.students.unet import ARCHITECTURES, UNet, build

__all__ = [
    "ARCHITECTURES",
    "NOTHING",
    "PROMPTABLE_ARCHITECTURES",
    "Classifier",
    "EncoderWeights",
    "LinearProbe",
    "PromptableEncoder",
    "ResponseNetwork",
    "Size",
    "Standardisation",
    "Standardised",
    "UNet",
    "build",
    "build_classifier",
    "build_promptable",
    "copy_decoder",
    "copy_encoder",
    "count",
    "encoder_facts",
    "encoder_of",
    "encoder_state",
    "is_promptable",
    "is_promptable_file",
    "load",
    "load_any",
    "load_classifier",
    "load_encoder",
    "load_promptable",
    "predict",
    "predict_together",
    "pretrained_cfg",
    "save",
    "save_classifier",
    "save_encoder",
    "save_promptable",
    "together",
]
