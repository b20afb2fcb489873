"""What runs a package of each task on one image."""
