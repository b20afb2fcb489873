"""Tuning a teacher of the SAM family to a task, with few labels, before it teaches."""
