"""Label images: read, written, checked, and found by their names."""
