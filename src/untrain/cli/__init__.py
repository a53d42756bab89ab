"""The command line. Importing it imports no torch."""

from untrain.cli.app import main as main
