"""Pages drawn from records. Imports no torch."""
