"""A plugin in one file, without packaging: `--plugin FILE.py`."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from medtune.errors import MedtuneError, PluginFileError
from medtune.plugins.allowed import require_listed_file
from medtune.plugins.from_source import FromSource
from medtune.plugins.guards import place_of

__all__ = ["load_plugin_file"]


def load_plugin_file(path: str | Path, allowed: Sequence[str] | None = None) -> ModuleType:
    """Import a plugin's file under its own name, and return the module.

    Args:
        path: the file.
        allowed: what the spec's list of plugins says, which may pin it; see ``require_listed_file``.

    Raises:
        PluginFileError: there is no such file, it may not be imported, its name is taken by another module, or it cannot be imported.
    """
    file = Path(path).resolve()
    name = file.stem
    if file.suffix != ".py" or not file.is_file():
        raise PluginFileError(str(path), "there is no such Python file; give the path of one")
    require_listed_file(file, allowed)
    if not name.isidentifier():
        raise PluginFileError(str(path), "its name is no name of a module; rename it to letters, digits and '_'")
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    if known is not None or _is_elsewhere(name, file):
        raise PluginFileError(str(path), f"there is another module '{name}'; rename the file")
    spec = spec_from_file_location(name, file, loader=FromSource(name, str(file)))
    if spec is None:
        raise PluginFileError(str(path), "Python has no loader for it; name it FILE.py")
    return _imported(path, spec)


def _is_elsewhere(name: str, file: Path) -> bool:
    """Say whether Python would import another file by that name."""
    found = find_spec(name)
    return found is not None and (found.origin is None or Path(found.origin).resolve() != file)


def _imported(path: str | Path, spec: ModuleSpec) -> ModuleType:
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # pickles and dataclasses of the plugin look it up there
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except MedtuneError as error:
        del sys.modules[spec.name]
        raise PluginFileError(str(path), str(error)) from error
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise PluginFileError(str(path), _fault(error, spec.name)) from error
    return module


def _fault(error: BaseException, module: str) -> str:
    """Say what kept a module from being imported, and where; the text of an error may hold anything and is left out."""
    said = type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it imports '{error.name}', which is nowhere ({said}); install that, or put it beside the file"
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}:{error.lineno} is no Python that runs here ({said}); mend that line"
    return f"{said} at {place_of(error, [module])} while it was imported; mend that line, or do without the file"
