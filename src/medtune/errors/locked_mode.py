"""What locked mode refuses, and whether this process is asked to be locked."""

import os
from collections.abc import Sequence

from medtune.errors.artifacts import UnsafeArtifactError
from medtune.errors.spec import SpecError

__all__ = ["LOCKED_MEANS", "LOCKED_VARIABLE", "NetworkRefusedError", "RemoteNameError", "is_locked", "remember_lock"]

LOCKED_VARIABLE = "MEDTUNE_LOCKED"
"""Environment variable: when set to anything but "" or "0", this process and its children are locked."""

LOCKED_MEANS = "yes: no network, local paths only, no plugin but those that are listed with a hash"
"""What a user is told of a locked process."""


_locked = list[bool]()


def remember_lock() -> None:
    """Note that this process is locked, whatever becomes of its environment."""
    _locked.append(True)


def is_locked() -> bool:
    """Whether this process is, or is asked to be, locked."""
    return bool(_locked) or os.environ.get(LOCKED_VARIABLE, "") not in ("", "0")


class NetworkRefusedError(UnsafeArtifactError):
    """Code asked for the network in a locked process; what it would have sent, and to whom, is not told.

    Attributes:
        what: such as "look up a name".
        module: who asked, the outermost module between medtune and the network.
        distribution: that the module is of, empty where it is not known.
        place: file and line.
        through: modules that it asked through, the nearest to the network first.
    """

    def __init__(self, what: str, module: str, distribution: str, place: str, through: Sequence[str] = ()) -> None:
        self.what, self.module, self.distribution, self.place = what, module, distribution, place
        self.through = tuple(through)
        owner = f" of distribution '{distribution}'" if distribution else ""
        way = f" through {', '.join(through)}" if through else ""
        super().__init__(
            f"module '{module}'{owner} ({place}) wanted to {what}{way}, which a locked process refuses; do without it, "
            "or run it unlocked"
        )


class RemoteNameError(SpecError):
    """A locked run names something that does not lie on this machine; nothing of it was opened."""

    def __init__(self, what: str, instead: str) -> None:
        self.what, self.instead = what, instead
        super().__init__(f"{what}, and a locked run opens local paths only; {instead}")
