"""Students: the small networks that learn, their size, their files, and their predictions."""

from abbe.students.classifier import Classifier, build_classifier
from abbe.students.encoder_files import (
    encoder_facts,
    encoder_of,
    encoder_state,
    load_encoder,
    save_encoder,
)
from abbe.students.encoders import EncoderWeights
from abbe.students.predict import predict
from abbe.students.size import Size, count
from abbe.students.unet import ARCHITECTURES, UNet, build
from abbe.students.weights import load, save

__all__ = [
    "ARCHITECTURES",
    "Classifier",
    "EncoderWeights",
    "Size",
    "UNet",
    "build",
    "build_classifier",
    "count",
    "encoder_facts",
    "encoder_of",
    "encoder_state",
    "load",
    "load_encoder",
    "predict",
    "save",
    "save_encoder",
]
