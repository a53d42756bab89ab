"""Libraries and files that models come from: a file for each."""
