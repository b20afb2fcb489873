"""A finished run on images of another data set."""
