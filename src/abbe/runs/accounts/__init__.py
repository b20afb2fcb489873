"""What a run has used: labels, images that others trained on, a machine and its time."""
