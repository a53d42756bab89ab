"""Broken methods, in a file named as the method's is."""
