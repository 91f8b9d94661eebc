"""``python -m medtune_ray``."""

import sys

from medtune_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
