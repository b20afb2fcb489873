"""Known public data sets: their licences, and readers of their original layouts."""
