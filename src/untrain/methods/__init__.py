"""Methods, one file each; found by looking."""
