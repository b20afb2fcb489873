"""The napari plugin: packages and their results as layers, and a form that finds objects.

``napari.yaml`` tells napari what there is; nothing here is imported before it is asked for.
"""
