"""Hosts with one foreign thing, for tests of guards."""

import types
from types import SimpleNamespace

from medtune import hookimpl
from medtune.plugins.host import KINDS, create_host

CANARY = "PATIENT-4711-HAS-A-FEVER"
"""Stands for the text of a row, which no error may hold."""


def plugin_of(name, **hooks):
    """Build a plugin module from hook implementations."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function, specname=hook))
    return module


def host_of(kind, thing, name="sick"):
    """Return a host in which the plugin ``sick`` of a distribution provides the thing."""
    host = create_host(autoload=False)
    hook, _contract = KINDS[kind]
    host.register(plugin_of(name, **{hook: lambda: [thing]}), name, distribution="sick-dist", version="1.2")
    return host


def guarded_of(kind, **members):
    """Return a thing of these members as the host hands it out, under the name ``ill``."""
    return host_of(kind, SimpleNamespace(**{"name": "ill", **REQUIRED[kind], **members})).find(kind, "ill")


def nothing(*_args, **_kwargs):
    return None


REQUIRED = {
    "quantizer": {"load": nothing},
    "adapter": {"attach": nothing},
    "trainer": {"fit": nothing},
    "generator": {"generate": nothing},
    "formatter": {"format": nothing},
    "task": {"matches": nothing, "max_new_tokens": nothing, "parse": nothing, "score": nothing},
    "exporter": {"export": nothing},
    "encoder": {"fit_and_answer": nothing},
}
"""Kind -> the methods that a thing of it must have."""

OF_PLUGIN = "plugin 'sick' of sick-dist 1.2"
"""How an error names the plugin."""
