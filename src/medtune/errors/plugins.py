"""A plugin that breaks its contract."""

from collections.abc import Sequence

from medtune.errors.spec import SpecError

__all__ = ["PluginClashError", "PluginError", "PluginFileError", "PluginImportError"]


class PluginError(SpecError):
    """A plugin breaks the contract of its hook."""


class PluginClashError(PluginError):
    """Two plugins register the same name."""

    def __init__(self, kind: str, name: str, owners: Sequence[str]) -> None:
        self.kind, self.name, self.owners = kind, name, tuple(owners)
        by = " and by ".join(map(repr, owners))
        super().__init__(f"{kind} '{name}' is registered by {by}; names must be unique: rename one or uninstall one")


class PluginFileError(PluginError):
    """A plugin's file cannot be loaded."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"plugin file '{file}' cannot be loaded: {reason}; try it with `medtune plugins check {file}`")


class PluginImportError(PluginError):
    """An installed plugin cannot be imported."""

    def __init__(self, plugin: str, distribution: str, reason: str) -> None:
        self.plugin, self.distribution, self.reason = plugin, distribution, reason
        super().__init__(
            f"plugin '{plugin}' of distribution '{distribution}' cannot be loaded ({reason}); repair or uninstall it, "
            "or set MEDTUNE_DISABLE_PLUGIN_AUTOLOAD=1"
        )
