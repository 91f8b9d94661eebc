"""A plugin that breaks its contract."""

from collections.abc import Sequence

from medtune.errors.spec import SpecError

__all__ = [
    "DisabledPluginError",
    "PluginClashError",
    "PluginContractError",
    "PluginError",
    "PluginFailedError",
    "PluginFileError",
    "PluginImportError",
]


class PluginError(SpecError):
    """A plugin breaks the contract of its hook."""


class PluginClashError(PluginError):
    """Two plugins register the same name."""

    def __init__(self, kind: str, name: str, owners: Sequence[str]) -> None:
        self.kind, self.name, self.owners = kind, name, tuple(owners)
        by = " and by ".join(map(repr, owners))
        super().__init__(f"{kind} '{name}' is registered by {by}; names must be unique: rename one or uninstall one")


class PluginFileError(PluginError):
    """A plugin's file cannot be loaded; the reason says what to do instead."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"plugin file '{file}' cannot be loaded: {reason}")


class PluginContractError(PluginError):
    """What a plugin gives back is not what its contract says."""

    def __init__(self, origin: str, call: str, found: str, wanted: str) -> None:
        self.origin, self.call, self.found, self.wanted = origin, call, found, wanted
        super().__init__(f"{origin}: {call} {found}; {wanted}")


class PluginFailedError(PluginError):
    """A plugin raised something; its text is withheld, since it may quote a row."""

    def __init__(self, origin: str, call: str, raised: str, place: str) -> None:
        self.origin, self.call, self.raised, self.place = origin, call, raised, place
        super().__init__(
            f"{origin} failed in {call}: {raised} at {place}, whose text is withheld since it may quote a row; see "
            "--traceback, and repair the plugin or do without it"
        )


class PluginImportError(PluginError):
    """An installed plugin cannot be imported."""

    def __init__(self, plugin: str, distribution: str, reason: str) -> None:
        self.plugin, self.distribution, self.reason = plugin, distribution, reason
        super().__init__(f"it cannot be imported ({reason}); repair or uninstall '{distribution}'")


class DisabledPluginError(PluginError):
    """A plugin that the spec, or the environment, names cannot be used."""

    def __init__(self, plugin: str, reason: str) -> None:
        self.plugin, self.reason = plugin, reason
        super().__init__(f"plugin '{plugin}' is named and cannot be used: {reason}; mend it, or name what is installed")
