"""`python -m ledger` is the command `kling-ledger`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, and end quietly if it is interrupted while it still loads."""
    try:
        from ledger.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
