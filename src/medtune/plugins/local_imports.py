"""Which modules of the same author a file imports: those that are neither Python's, nor installed, nor medtune's."""

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["is_local", "local_imports"]

_INSTALLED = {"site-packages", "dist-packages"}
_OWN = Path(__file__).parents[1]


def is_local(file: Path) -> bool:
    """Whether a file is neither in a folder of installed libraries, nor Python's, nor medtune's."""
    of_python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return _INSTALLED.isdisjoint(file.parts) and not any(place in file.parents for place in (_OWN, *of_python))


def local_imports(files: Iterable[Path]) -> Iterator[ModuleType | Path]:
    """Yield the local modules that files import, anywhere in them; one that is not loaded yet by its file."""
    names = {name for file in files for name in _imported(file)}
    for name in sorted(names - set(sys.stdlib_module_names)):
        module = sys.modules.get(name)
        if module is not None:
            origin: Any = getattr(module, "__file__", None)
            if isinstance(origin, str) and Path(origin).is_file() and is_local(Path(origin)):
                yield module
        elif "." not in name and (file := _file_of(name)) is not None and is_local(file):
            yield file


def _imported(file: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, and what they begin with; its own package is told by its files."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in found:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file_of(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and Path(spec.origin).is_file() else None
