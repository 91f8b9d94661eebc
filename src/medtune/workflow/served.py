"""Several runs opened on one base in memory, and the base itself, each under a name by which it is asked."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from medtune.errors import SpecError
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.plugins.host import PluginHost, host_of
from medtune.runs.folder import RunFolder
from medtune.specs import RunSpec
from medtune.workflow.answering import Answering
from medtune.workflow.locked import lock_where
from medtune.workflow.opening import Opened, open_adapter, open_beside

__all__ = ["BASE_NAME", "ServedModel", "ServedRuns", "generation_request"]

BASE_NAME = "base"
"""Name of the base without any adapter."""
_NAME = re.compile(r"[A-Za-z0-9_][\w.:@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by name.

    Attributes:
        name: how it is asked for.
        answering: asks it, inside ``ServedRuns.active``.
        adapter: name of its adapter in memory, None for the one that came with the base.
        is_base: whether no adapter takes part.
    """

    name: str
    answering: Answering
    adapter: str | None = None
    is_base: bool = False


class ServedRuns:
    """The models. Not for several threads: whoever asks, adds or removes does it one after the other.

    Args:
        slots: answers that are decoded together where a run's spec leaves that open.
        plugins: a host, or modules and objects to register beside the installed plugins that the first run lists.
    """

    def __init__(self, slots: int, plugins: PluginHost | Sequence[object] = ()) -> None:
        self._host, self._slots = plugins, slots
        self._first: Opened | None = None
        self._loaded: Loaded | None = None
        self._models: dict[str, ServedModel] = {}
        self._added = 0

    @classmethod
    def open(cls, runs: Mapping[str, Path], slots: int, plugins: PluginHost | Sequence[object] = ()) -> Self:
        """Open runs by name; the first one brings the base."""
        opened = cls(slots, plugins)
        for name, path in runs.items():
            opened.add(path, name)
        return opened

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """The models that can be asked, by name, the base last."""
        return self._models

    @property
    def context(self) -> int:
        """Most tokens, prompt and answer, that the base has positions for; 0 where its configuration does not say."""
        if self._loaded is None:
            return 0
        config = self._loaded.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or 0)

    def add(self, path: Path, name: str) -> None:
        """Open a run's adapter, as everywhere, and let it answer a prompt before it has its name.

        Args:
            path: the run folder; the first one brings the base.
            name: how it is asked for.

        Raises:
            SpecError: the name is taken, or the run cannot share the base.
            StorageError: there is no run, or it has no adapter yet.
            UnsafeArtifactError: adapter, tokenizer or base is not the one of the run.
        """
        if not _NAME.fullmatch(name):
            raise SpecError(f"a served run is named by letters, digits and .:@+-_; serve '{path}' as NAME={path}")
        if name == BASE_NAME or name in self._models:
            raise SpecError(f"the name '{name}' is taken; serve '{path}' as NAME={path}")
        folder = RunFolder(path)
        record = folder.read()
        lock_where(record["spec"].get("locked"))
        opened = Opened(folder, record, RunSpec.model_validate(record["spec"]))
        if self._first is None or self._loaded is None:
            self._open_first(opened, name)
            return
        self._added += 1
        adapter = f"added{self._added}"
        loaded = open_beside(self._first, opened, adapter, self._loaded)
        try:
            self._put(ServedModel(name, self._answering(loaded, opened.spec), adapter))
        except BaseException:
            self._models.pop(name, None)
            self._remove(adapter)
            raise

    def remove(self, name: str) -> None:
        """Let a run no longer be asked; its adapter leaves memory unless the base came with it.

        Raises:
            SpecError: there is none of that name, or it is the base.
        """
        if name == BASE_NAME or name not in self._models:
            runs = ", ".join(f"'{known}'" for known in self._models if known != BASE_NAME)
            raise SpecError(f"no run named '{name}' is served; served: {runs}")
        adapter = self._models.pop(name).adapter
        if adapter is not None:
            self._remove(adapter)

    @contextmanager
    def active(self, model: ServedModel) -> Iterator[None]:
        """Inside, the base in memory answers as ``model``."""
        loaded = model.answering.loaded
        if model.is_base:
            with loaded.base_only():
                yield
            return
        if loaded.adapters is not None:
            loaded.adapters.use(model.adapter)
        yield

    def _open_first(self, opened: Opened, name: str) -> None:
        self._host = host = host_of(self._host, opened.spec.plugins)
        self._loaded = open_adapter(opened.folder, opened.record, opened.spec, host)
        self._first = opened
        asked = self._answering(self._loaded, opened.spec)
        self._put(ServedModel(name, asked))
        self._put(ServedModel(BASE_NAME, asked, is_base=True))

    def _put(self, model: ServedModel) -> None:
        """Give a model its name once it has answered; that also proves the way in which it answers."""
        ids = model.answering.prompt_ids([{"role": "user", "content": "Label each token.\n\nfever helps ."}])
        with self.active(model):
            model.answering.answer([GenerationRequest(ids, 1)])
        base = self._models.pop(BASE_NAME, None)
        self._models[model.name] = model
        if base is not None:
            self._models[BASE_NAME] = base

    def _answering(self, loaded: Loaded, spec: RunSpec) -> Answering:
        if spec.eval.batch_size == "auto":
            spec = spec.model_copy_with(eval=spec.eval.model_copy_with(batch_size=self._slots))
        return Answering(replace(loaded), spec, host_of(self._host, spec.plugins))

    def _remove(self, adapter: str) -> None:
        if self._loaded is not None and self._loaded.adapters is not None:
            self._loaded.adapters.remove(adapter)


def lock_for(folders: Iterable[Path]) -> None:
    """Lock this process where one of these runs was made locked."""
    for folder in folders:
        lock_where(RunFolder(folder).read()["spec"].get("locked"))


def generation_request(ids: Sequence[int], max_new_tokens: int) -> GenerationRequest:
    """Return what a generator is asked: a prompt as token ids, and the most tokens that its answer may take."""
    return GenerationRequest(ids, max_new_tokens)
