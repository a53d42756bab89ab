"""Scenarios, grids and tables."""
