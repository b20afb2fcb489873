"""Does a package answer as the student did? The parity check of each task."""
