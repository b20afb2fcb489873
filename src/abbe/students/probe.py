"""A linear probe: what a frozen encoder's features are worth by themselves."""

import torch
from torch import Tensor, nn

from abbe.students.classifier import Classifier


class LinearProbe(nn.Module):
    """One linear layer on `Classifier.embed`; the classifier's own head is not used.

    Features of one encoder differ in size by orders of magnitude, and an optimiser learns little
    from the small ones. So each is first brought to mean 0 and deviation 1 on the training images.

    Attributes:
        classifier: Its encoder is looked through; freeze it with ``Stage.parts``.
        linear: From the encoder's last map, averaged, to the logits.
        feature_mean, feature_std: (D,) of these averages; 0 and 1 until they are set.
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
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_std", torch.ones(width))

    def scale_features(self, features: Tensor) -> None:
        """Take mean and deviation of features (N, D); one that never changes keeps its size."""
        deviation, mean = torch.std_mean(features.double(), 0, correction=0)
        constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-6)
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(deviation.masked_fill(constant, 1.0))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W) in [0, 1]."""
        features = self.classifier.embed(image)
        return self.linear((features - self.feature_mean) / self.feature_std)
