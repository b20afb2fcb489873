"""Results as files, read from tiles and never held as a whole."""
