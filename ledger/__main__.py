"""`python -m ledger` is the command `kling-ledger`."""

from ledger.cli import main

if __name__ == "__main__":
    main()
