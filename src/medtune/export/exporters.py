"""medtune's own exporters, registered as any plugin's are."""

from collections.abc import Sequence

from medtune.export.hub import HubExporter
from medtune.export.llama_cpp.exporters import GgufAdapterExporter, GgufExporter
from medtune.export.llama_cpp.ollama import OllamaExporter
from medtune.export.merged import MergedExporter
from medtune.export.serving import AdapterForServer
from medtune.plugins.contracts import Exporter
from medtune.plugins.hookspecs import hookimpl

__all__ = ["provide_exporters"]


@hookimpl
def provide_exporters() -> Sequence[Exporter]:
    """Provide the exporters that ``medtune export --to`` lists."""
    return [
        MergedExporter(),
        GgufExporter(),
        GgufAdapterExporter(),
        OllamaExporter(),
        AdapterForServer("vllm"),
        AdapterForServer("sglang"),
        HubExporter(),
    ]
