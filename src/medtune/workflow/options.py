"""What the tuner's calls take by name, as types that a checker reads."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, TypedDict

from medtune.plugins.contracts import PromptFormatter
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec, EvalSpec, LoraSpec, ModelSpec, QuantSpec, TaskSpec, TrainSpec
from medtune.workflow.progress import ProgressChoice

__all__ = ["LaunchOptions", "Overrides", "Rows", "SweepOptions", "TrainOptions"]

Rows = Iterable[Mapping[str, Any]]


class Overrides(TypedDict, total=False):
    """What may be swapped of a bundle.

    Attributes:
        model: a spec, a repository's name or a folder.
        data: a spec, a file, folder or repository, or rows.
        quant: storage of the base.
        lora: the adapter.
        train: the optimisation.
        eval: scoring.
        tasks: what the rows of a source are.
        seed: of everything that is drawn.
        locked: whether the process refuses the network.
        output_dir: the run folder.
        formatter: a name, or an object that formats rows.
        plugins: a host, modules and objects to register beside the installed plugins, or names of distributions as in a spec.
    """

    model: ModelSpec | str | Path | Mapping[str, Any]
    data: DataSpec | str | Path | Mapping[str, Any] | Rows
    quant: QuantSpec | Mapping[str, Any]
    lora: LoraSpec | Mapping[str, Any]
    train: TrainSpec | Mapping[str, Any]
    eval: EvalSpec | Mapping[str, Any]
    tasks: Sequence[TaskSpec | Mapping[str, Any]]
    seed: int
    locked: bool
    output_dir: str | Path
    formatter: str | PromptFormatter
    plugins: PluginHost | Sequence[object]


class TrainOptions(TypedDict, total=False):
    """Further options of ``MedTuner.train``.

    Attributes:
        progress: whom to tell of events that no function is given for: "auto", "bar", "notebook", "silent" or an object.
        quiet: the same as "silent".
        cancel: once it is set, by any thread, the run saves after its update and ends with ``RunInterruptedError``.
    """

    quiet: bool
    cancel: Event | None
    progress: ProgressChoice


class LaunchOptions(TypedDict, total=False):
    """Further options of ``MedTuner.launch``.

    Attributes:
        gpu: kind of the GPUs, such as "h100"; this machine's where none is named.
        gpus: in each machine.
        nodes: machines.
        net: between them, such as "25GbE".
        minutes: time limit of a job; of the plan where none is given.
        image: container image, for Kubernetes and SkyPilot.
        volume: disk that outlives the machines, as NAME:/PATH, for the same.
        writes: whether the files are written, or only returned.
    """

    gpu: str | None
    gpus: int
    nodes: int
    net: str | None
    minutes: float | None
    image: str | None
    volume: str | None
    writes: bool


class SweepOptions(TypedDict, total=False):
    """Further options of ``MedTuner.sweep``.

    Attributes:
        random: how many settings are drawn from the grid; None tries all.
        halving: whether the worse half is given up after 1/2, 1/4, ... of the updates.
        by: figure that chooses: "macro", "loss" or a task; None is "loss" with halving, else "macro".
        progress: whom to tell, as for ``train``.
    """

    random: int | None
    halving: bool
    by: str | None
    progress: ProgressChoice
