"""From a finished run to what the writer of packages takes, by task."""
