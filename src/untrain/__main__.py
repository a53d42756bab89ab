"""`python -m untrain` is the command `untrain`."""

import sys

from untrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
