"""``python -m medtune`` is the command line."""

from medtune.cli import main

if __name__ == "__main__":
    main()
