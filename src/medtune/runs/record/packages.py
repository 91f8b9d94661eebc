"""Which packages a run is made with: versions, and hashes of the lists of files that installers keep."""

import functools
import hashlib
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

__all__ = ["packages"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@functools.cache
def packages(root: str = "medtune") -> dict[str, list[str | None]]:
    """Return name -> [version, SHA-256 of its RECORD] of a distribution and all that it requires, as far as installed.

    RECORD lists every installed file with its hash; where an installer keeps none it is None.
    """
    found: dict[str, list[str | None]] = {}
    waiting = [root]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # of another platform, or an extra
            continue
        found[name] = [installed.version, _list_hash(installed)]
        needed = [line for line in installed.requires or () if "extra ==" not in line]
        waiting += [match[0] for line in needed if (match := _NAME.match(line))]
    return dict(sorted(found.items()))


def _list_hash(installed: Distribution) -> str | None:
    text = installed.read_text("RECORD")
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
