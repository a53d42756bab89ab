"""Where a user's model and data come from: other libraries, folders, files and Python functions."""
