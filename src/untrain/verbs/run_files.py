"""Names of the files in a run's folder."""

WEIGHTS, RECORD, TRAINING, PAGE = "model.safetensors", "record.json", "train.json", "report.html"

STATE = ".state"
"""Folder of the state of a run that goes on."""

INPUTS = ".inputs.json"
"""There only where inputs were named by path: it says where, seen from the folder, and stays on the machine."""
