"""What a check of a data set comes to: problems of the whole set, facts, and the report."""
