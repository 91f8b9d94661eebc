"""Imports modules from the files whose hash was compared, never from what lies compiled beside them."""

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

__all__ = ["FromSource", "import_from_source"]


class FromSource(SourceFileLoader):
    """Compiles a file at each import: what ``__pycache__`` holds need not be compiled from it, whatever times it states."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the file as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Finder(MetaPathFinder):
    """Finds what the other finders do, under some names from source only; it stays, for what a plugin imports later."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self.names:
            return None
        found: ModuleSpec | None = None
        for finder in sys.meta_path:
            if finder is not self and (found := finder.find_spec(fullname, path, target)) is not None:
                break
        if found is not None and type(found.loader) is SourceFileLoader:
            found.loader = FromSource(fullname, found.loader.path)
            found.cached = None
        return found


_FINDER = _Finder()


def import_from_source(names: Iterable[str]) -> None:
    """Have modules of these outermost packages, or of these names, imported from source from now on, in this process."""
    _FINDER.names.update(names)
    if _FINDER.names and _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
