"""The adapter's matrices as one .npz file, for whoever has numpy and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune import hookimpl
from medtune.errors import SpecError
from medtune.plugins.contracts import Exported, Exporter, ExportSource


class Npz:
    name = "npz"

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        if options:
            raise SpecError(f"exporter '{self.name}' has no option '{min(options)}'; it has none")

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        import numpy as np
        from safetensors.numpy import load_file

        self.check(source, options)
        matrices = load_file(source.adapter_dir / "adapter_model.safetensors")
        np.savez(target / "adapter.npz", **matrices)
        usage = ("python -c \"import numpy; print(numpy.load('adapter.npz').files)\"",)
        return Exported(target, "", "fp32", facts={"matrices": len(matrices)}, usage=usage)


@hookimpl
def provide_exporters() -> Sequence[Exporter]:
    return [Npz()]
