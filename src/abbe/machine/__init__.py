"""The machine under us: its number formats, cores, and memory."""
