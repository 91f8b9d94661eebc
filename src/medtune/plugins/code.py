"""The code of plugins as hashes: what was written down, and what runs."""

import functools
import hashlib
import inspect
import json
import re
import sys
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from importlib import metadata
from importlib.machinery import all_suffixes
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Generic, Protocol, TypeVar

from medtune.plugins.guards import unguarded
from medtune.plugins.local_imports import is_local, local_imports
from medtune.version import __version__

__all__ = ["behaviour_hash", "code_hash"]

T = TypeVar("T")

_OWN = Path(__file__).parents[1]
_IMPORTED = tuple(all_suffixes())
_WITHOUT_STATE = (object, ABC, Generic, Protocol)
_PLAIN = (str, int, float, bool, type(None), bytes, complex, PurePath, re.Pattern, Enum)


def code_hash(things: Iterable[object], *, is_own: bool = False) -> str | None:
    """Return a SHA-256 of the files that modules, and objects by their classes, are written in; None where one is unknown.

    That is all files of the package that Python imports, the file of what is in none, or the source where there is no file; and of what is
    not installed the modules beside it that these import. An installed
    library that medtune requires, which a plugin may hold a model of, counts by its version alone.

    Args:
        things: modules and objects.
        is_own: whether they are medtune's own; of another's, code of medtune counts by its version alone.
    """
    seen = _Seen(is_own=is_own)
    try:
        for thing in things:
            seen.describe(thing)
    except _UnknownError:
        return None
    return _digest(seen.sources)


def behaviour_hash(thing: object) -> str | None:
    """Return a SHA-256 of an object's files, of its code as it was loaded, and of its values; None where one is unknown.

    Files may have been edited since they were loaded, and two objects of a class may differ in what they hold.
    """
    seen = _Seen()
    try:
        held = seen.describe(thing)
    except _UnknownError:
        return None
    return _digest([seen.sources, seen.loaded, held])


class _UnknownError(Exception):
    """Something has no source, or values that cannot be told apart."""


class _Seen:
    """What was found of code on the way through objects and what they hold."""

    def __init__(self, *, is_own: bool = False) -> None:
        self.sources: dict[str, str] = {}
        self.loaded: dict[str, Any] = {}
        self._is_own = is_own
        self._known: dict[int, object] = {}
        self._places: set[Path] = set()

    def describe(self, value: Any) -> Any:
        """Return a value as JSON values, and remember the code that it and what it holds are made of."""
        value = unguarded(value)
        if isinstance(value, _PLAIN):
            return repr(value)
        if id(value) in self._known:
            return "as before"
        self._known[id(value)] = value  # kept, so that no other object gets its id
        if isinstance(value, Mapping):
            return [[self.describe(key), self.describe(held)] for key, held in value.items()]
        if isinstance(value, list | tuple):
            return [self.describe(held) for held in value]
        if isinstance(value, set | frozenset):
            return sorted(json.dumps(self.describe(held)) for held in value)
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        return self._code(value)

    def _code(self, value: Any) -> Any:
        """Return what a module, class, function or object holds, once its code is remembered."""
        if isinstance(value, ModuleType | type):
            self._define(value)
            return value.__name__
        if isinstance(value, MethodType):
            return [self.describe(value.__func__), self.describe(value.__self__)]
        if isinstance(value, functools.partial):
            return [self.describe(part) for part in (value.func, value.args, value.keywords)]
        if isinstance(value, FunctionType):
            self._define(value)
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            return [value.__qualname__, *map(self.describe, (cells, value.__defaults__, value.__kwdefaults__))]
        for kind in type(value).__mro__:
            is_builtin = _is_python_s(kind.__module__)
            if kind not in _WITHOUT_STATE and (is_builtin or not (kind.__dictoffset__ or "__slots__" in vars(kind))):
                raise _UnknownError  # what it holds does not show
            if not is_builtin:
                self._define(kind)
        return [type(value).__qualname__, [[name, self.describe(held)] for name, held in _held(value)]]

    def _define(self, definition: Any) -> None:
        """Remember the source of a module, class or function, and its code as it is loaded."""
        module = definition if isinstance(definition, ModuleType) else sys.modules.get(definition.__module__)
        if module is not None and _is_python_s(module.__name__):
            return
        file = getattr(module, "__file__", None)
        if module is None or file is None or not Path(file).is_file():
            name = getattr(definition, "__qualname__", definition.__name__)
            self.sources[f"{getattr(definition, '__module__', '')}.{name}"] = _source(definition)
            return
        if _OWN in Path(file).parents:
            self.sources |= _own_files() if self._is_own else {"medtune": __version__}
            return
        place = _place(module, Path(file))
        if (library := _libraries().get(str(place))) is not None:
            self.sources[place.name] = library
            return
        if place not in self._places:
            self._places.add(place)
            self.sources |= _files(place)
            self._follow(place)
        written_here = [held for held in vars(module).values() if getattr(held, "__module__", "") == module.__name__]
        self.loaded |= dict(sorted(item for held in (definition, *written_here) for item in _loaded(held)))

    def _follow(self, place: Path) -> None:
        """Remember the modules beside it that a file or package of the same author imports."""
        if not is_local(place):
            return
        try:
            found = list(local_imports(sorted(place.rglob("*.py")) if place.is_dir() else [place]))
        except (SyntaxError, ValueError):  # it was edited since it was loaded
            raise _UnknownError from None
        for each in found:
            if isinstance(each, ModuleType):
                self._define(each)
            elif each not in self._places:
                self._places.add(each)
                self.sources |= _files(each)
                self._follow(each)


def _is_python_s(module: str) -> bool:
    """Whether a module comes with Python."""
    return module.partition(".")[0] in sys.stdlib_module_names


def _held(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of an object by name."""
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return sorted((found | getattr(value, "__dict__", {})).items())


def _slots(kind: type) -> tuple[str, ...]:
    slots: Any = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(name for name in slots if not name.startswith("__"))


def _source(definition: Any) -> str:
    """Return the text of a definition that is in no file, such as a notebook's cell."""
    try:
        return inspect.getsource(definition)
    except (OSError, TypeError):
        functions = [held for held in vars(definition).values() if isinstance(held, FunctionType)]
    if isinstance(definition, FunctionType) or not functions:
        raise _UnknownError
    return "\n".join(map(_source, functions))


def _place(module: ModuleType, file: Path) -> Path:
    """Return the folder of the outermost package that a module lies in, else its file."""
    parts = module.__name__.split(".")
    for end in range(1, len(parts) + 1):
        package = sys.modules.get(".".join(parts[:end]))
        if package is not None and hasattr(package, "__path__") and getattr(package, "__file__", None):
            return Path(str(package.__file__)).parent
    return file


def _files(place: Path) -> dict[str, str]:
    files = sorted(file for file in place.rglob("*") if _is_code(file)) if place.is_dir() else [place]
    return {f.relative_to(place.parent).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _is_code(file: Path) -> bool:
    """Whether Python imports a file: source, a compiled module that stands for itself, or an extension."""
    return file.name.endswith(_IMPORTED) and file.parent.name != "__pycache__" and file.is_file()


@functools.cache
def _libraries() -> dict[str, str]:
    """Return folder -> name and version of the installed libraries that medtune requires."""
    found: dict[str, str] = {}
    for needed in _of_distribution(metadata.requires, "medtune") or ():
        name = re.split(r"[^\w.-]", needed, maxsplit=1)[0]
        library = None if "extra ==" in needed else _of_distribution(metadata.distribution, name)
        if library is not None:
            found[str(library.locate_file(name.replace("-", "_")))] = f"{name} {library.version}"
    return found


def _of_distribution(read: Callable[[str], T], name: str) -> T | None:
    try:
        return read(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _own_files() -> dict[str, str]:
    """Return medtune's own files, which are hundreds: read once."""
    return _files(_OWN)


def _loaded(held: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and code of a function, or of the functions of a class, as they are in memory."""
    if isinstance(held, FunctionType):
        yield f"{held.__module__}.{held.__qualname__}", _instructions(held.__code__)
    elif isinstance(held, type):
        for inner in vars(held).values():
            function = getattr(inner, "__func__", getattr(inner, "fget", inner))
            if isinstance(function, FunctionType):
                yield from _loaded(function)


def _instructions(code: CodeType) -> list[Any]:
    constants = [_instructions(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
