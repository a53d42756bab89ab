"""Reference networks, data and recipes."""
