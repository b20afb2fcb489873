"""What a run has used: labels, and images that others trained on."""
