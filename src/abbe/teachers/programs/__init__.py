"""Other people's programs as teachers."""
