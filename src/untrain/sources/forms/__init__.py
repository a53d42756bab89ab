"""Forms that data come in: a file for each, and `finding`, which finds out what a name names."""
