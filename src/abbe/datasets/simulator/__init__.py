"""Simulated tissue with its true cells. Nothing here is real."""
