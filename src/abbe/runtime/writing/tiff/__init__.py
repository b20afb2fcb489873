"""Tiled OME-TIFF of any size: at once, or in parts that were encoded before."""
