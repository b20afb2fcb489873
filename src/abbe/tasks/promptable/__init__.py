"""Masks that answer prompts: the task, and what prompts say by themselves."""
