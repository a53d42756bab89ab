"""What was measured, and what may be said of it: the record, its verdict and the statistics behind it. Imports no torch."""
