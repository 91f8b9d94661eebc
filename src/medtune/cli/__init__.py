"""The command line: it parses, calls the API and prints; nothing is decided here."""

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with the code that the contract names."""
    from medtune.cli.app import run

    exit_code = run(sys.argv[1:], ends_process=True)
    gc.freeze()  # the interpreter's last collection walks every object of torch: seconds between a signal and the end
    sys.exit(exit_code)
