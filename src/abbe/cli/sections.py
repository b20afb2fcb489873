"""Sections of the experiment file as arguments of a verb."""

from abbe import config

SOME_DATA = config.Data.model_construct(kind="folder")
SOME_TEACHER = config.Teacher.model_construct()
"""Not checked, because the command line is yet to complete them."""
