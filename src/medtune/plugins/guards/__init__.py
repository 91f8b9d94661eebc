"""Guards around what plugins provide: every call into foreign code goes through here, and what comes back is checked."""

from medtune.plugins.guards.boundary import Boundary, WithheldError, place_of
from medtune.plugins.guards.provided import things_of
from medtune.plugins.guards.wrapping import guarded

__all__ = ["Boundary", "WithheldError", "guarded", "place_of", "things_of"]
