"""Audits, one file each; found by looking."""
