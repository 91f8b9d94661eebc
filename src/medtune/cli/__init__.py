"""The command line: it parses, calls the API and prints; nothing is decided here."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with the code that the contract names."""
    from medtune.cli.app import run

    sys.exit(run(sys.argv[1:]))
