"""Tells the observers of a run what happens, each by itself: none of them can end the run, or keep others from being told."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medtune.plugins.guards import place_of
from medtune.plugins.guards.process import ProcessKept
from medtune.plugins.host import PluginHost
from medtune.plugins.origin import Origin

__all__ = ["Observers"]

_LOG = logging.getLogger(__name__)
_LAST = frozenset({"run_finished", "run_failed"})
"""Hooks after which nothing is left to stop: Ctrl-C ends what an observer does there, and the run's outcome stays."""


class Observers:
    """The observers of one run.

    Attributes:
        failures: plugin -> hook -> how often it failed.
        changes: plugin -> hook -> what it changed for the whole process, which was put back.
    """

    def __init__(self) -> None:
        self.failures: dict[str, dict[str, int]] = {}
        self.changes: dict[str, dict[str, list[str]]] = {}

    def tell(self, host: PluginHost, hook: str, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Call every plugin's implementation of a hook.

        Args:
            host: the plugins.
            hook: such as "step_logged".
            facts: the hook's arguments; records, specs and plans are handed out as copies.
            say: told in a sentence of each plugin's first failure in a hook.
        """
        found = getattr(host.manager.hook, hook).get_hookimpls()
        for implementation in reversed(found):
            others = [other.plugin for other in found if other.plugin is not implementation.plugin]
            caller = host.manager.subset_hook_caller(hook, others)
            given = {name: _copied(value) for name, value in facts.items()}
            kept = ProcessKept(drawn=True)
            try:
                with kept:
                    caller(**given)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and hook not in _LAST:
                    raise
                if type(error).__module__.startswith("medtune.runs."):  # the wish to stop, which came meanwhile
                    raise
                origin = host.origin(implementation.plugin_name)
                self._count(origin, hook, error, place_of(error, [implementation.function.__module__]), say)
            finally:
                self._tell_changes(host.origin(implementation.plugin_name), hook, kept.changed, say)

    def close(self) -> None:
        """Log how often each observer failed."""
        for plugin, hooks in self.failures.items():
            for hook, times in hooks.items():
                if times > 1:
                    _LOG.warning("plugin '%s' failed %d times in %s", plugin, times, hook)

    def _tell_changes(self, origin: Origin, hook: str, changed: Sequence[str], say: Callable[[str], None]) -> None:
        known = self.changes.setdefault(origin.plugin, {}).setdefault(hook, []) if changed else []
        for what in changed:
            if what not in known:
                known.append(what)
                told = f"{origin} changed {what} in {hook}; put back"
                _LOG.warning("%s", told)
                say(told)

    def _count(self, origin: Origin, hook: str, error: BaseException, place: str, say: Callable[[str], None]) -> None:
        times = self.failures.setdefault(origin.plugin, {})
        times[hook] = times.get(hook, 0) + 1
        if times[hook] == 1:
            # the type alone: its text may quote a row
            told = f"{origin} failed in {hook} ({type(error).__name__} at {place}); the run is not touched by it"
            _LOG.warning("%s", told)
            say(told)


def _copied(value: Any) -> Any:
    """Return a value as an observer gets it: what it changes is not what others are told, or the run uses."""
    if isinstance(value, Mapping):
        return copy.deepcopy(dict(value))
    is_value = hasattr(value, "model_copy") or hasattr(value, "__dataclass_fields__")
    return copy.deepcopy(value) if is_value else value
