"""The generator of the demo's rows, for benchmarks: it lies in ``tools``, which is not installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))

from demo_base.generator import FREE_TEXT_SOURCES, generate_rows, source_names_of

__all__ = ["FREE_TEXT_SOURCES", "generate_rows", "source_names_of"]
