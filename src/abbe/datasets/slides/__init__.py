"""Tiles of whole slides as a data set."""
