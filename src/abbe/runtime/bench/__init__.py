"""How fast a package runs here, and whether it answers as it did where it was made."""
