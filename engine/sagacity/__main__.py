"""`python -m sagacity`: the same as the command `sagacity`."""

import sys

from sagacity.cli import main

if __name__ == "__main__":
    sys.exit(main())
