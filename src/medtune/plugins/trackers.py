"""Which trackers ``train.report_to`` may name: those of plugins that have a ``tracker``, told of a run by its hooks."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from medtune.errors import SpecError, UnknownNameError
from medtune.plugins.host import PluginHost

__all__ = ["require_trackers"]


def require_trackers(names: Sequence[str], host: PluginHost) -> None:
    """Refuse a tracker that there is none of, or whose package is not installed.

    Raises:
        UnknownNameError: no plugin has a tracker of that name.
        SpecError: what it needs is not installed.
    """
    plugins = [getattr(plugin, "tracker", None) for plugin in host.manager.get_plugins()]
    known: dict[str, Any] = {tracker.name: tracker for tracker in plugins if tracker is not None}
    for name in names:
        if name not in known:
            raise UnknownNameError("tracker", name, known)
        package = known[name].package
        if find_spec(package) is None:
            raise SpecError(
                f"train.report_to '{name}' needs the package '{package}', which is not installed: "
                "pip install 'medtune[trackers]', or leave it out"
            )
