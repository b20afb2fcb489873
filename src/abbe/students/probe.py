"""A linear probe: what a frozen encoder's features are worth by themselves."""

import torch
from torch import Tensor, nn

from abbe.students.classifier import Classifier


class LinearProbe(nn.Module):
    """One linear layer on `Classifier.embed`; the classifier's own head is not used.

    Attributes:
        classifier: Its encoder is looked through; freeze it with ``Stage.parts``.
        linear: From the encoder's last map, averaged, to the logits.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        mode = classifier.training
        classifier.eval()  # no running mean may see this empty image
        with torch.no_grad():
            width = classifier.embed(torch.zeros(1, classifier.in_channels, 64, 64)).shape[1]
        classifier.train(mode)
        self.linear = nn.Linear(width, len(classifier.classes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of normalised images (B, C, H, W)."""
        return self.linear(self.classifier.embed(image))
