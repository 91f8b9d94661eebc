"""Resolves every branch and tag of a spec to a commit, once, so that a run reads one state of each repository to its end."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medtune.data.hub.asking import commit_of
from medtune.data.hub.download import Listener
from medtune.data.hub.repository import Repository, is_commit
from medtune.data.sources.paths import is_local
from medtune.specs import DataSpec, ModelSpec, RunSpec, SourceSpec

__all__ = ["Pin", "pinned"]


@dataclass(frozen=True, slots=True)
class Pin:
    """Which commit of a repository a run reads.

    Attributes:
        part: field of the spec, such as "model" or "data.mix.0".
        repository: owner/name.
        asked: the revision as the spec wrote it; None is the main branch.
        commit: what that was when the run began.
    """

    part: str
    repository: str
    asked: str | None
    commit: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def pinned(
    spec: RunSpec, listener: Listener, *, known: Iterable[Mapping[str, Any]] = (), has_rows: bool = False
) -> tuple[RunSpec, list[Pin]]:
    """Return the spec with a commit for every repository, and these commits; of those that are pinned nothing is asked.

    Args:
        spec: the run.
        listener: is told of what is not pinned.
        known: pins of an earlier start of the same run, as JSON values; a branch that moved since does not move the run.
        has_rows: whether rows were given in the place of ``data.source``.

    Raises:
        HubError: the hub cannot be asked, or refuses.
    """
    before = {(pin["part"], pin["repository"], pin["asked"]): str(pin["commit"]) for pin in known}
    pins: dict[str, Pin] = {}
    for part, repository in _repositories(spec, has_rows=has_rows):
        commit = before.get((part, repository.name, repository.revision))
        if commit is None:
            commit = commit_of(repository, listener.patience, listener.tell)
        if not is_commit(repository.revision):
            listener.tell(_warning(part, repository, commit))
        pins[part] = Pin(part, repository.name, repository.revision, commit)
    return _with(spec, pins), list(pins.values())


def _repositories(spec: RunSpec, *, has_rows: bool) -> Iterator[tuple[str, Repository]]:
    if spec.model.path is None:
        yield "model", Repository("model", spec.model.name, spec.model.revision)
    members: list[tuple[str, SourceSpec]] = [
        (f"data.mix.{number}", member) for number, member in enumerate(spec.data.mix)
    ]
    if not has_rows:
        members.insert(0, ("data", spec.data))
    for part, member in members:
        if not is_local(member.source):
            yield part, Repository("dataset", member.source, member.revision)


def _warning(part: str, repository: Repository, commit: str) -> str:
    what, asked = repository.what, repository.revision or "main"
    return (
        f"warning: {what} '{repository.name}' is not pinned: '{asked}' is at commit {commit} now, which this run reads and "
        f"records; set {part}.revision={commit} to get the same again"
    )


def _with(spec: RunSpec, pins: Mapping[str, Pin]) -> RunSpec:
    model: ModelSpec = spec.model.model_copy_with(revision=pins["model"].commit) if "model" in pins else spec.model
    data: DataSpec = spec.data.model_copy_with(revision=pins["data"].commit) if "data" in pins else spec.data
    mix = tuple(
        member.model_copy_with(revision=pins[f"data.mix.{number}"].commit) if f"data.mix.{number}" in pins else member
        for number, member in enumerate(data.mix)
    )
    return spec.model_copy_with(model=model, data=data.model_copy_with(mix=mix))
