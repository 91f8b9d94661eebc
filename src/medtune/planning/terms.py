"""Says under which terms the base and the data sets of a run come."""

from collections.abc import Iterator

from medtune.data.hub.repository import Repository
from medtune.data.hub.terms import stated_terms
from medtune.data.sources.paths import is_local
from medtune.plugins.contracts import Bundle
from medtune.specs import RunSpec
from medtune.specs.data import UNDER_AGREEMENT

__all__ = ["licences_of"]


def licences_of(spec: RunSpec, bundles: list[Bundle]) -> tuple[str, ...]:
    """Return a sentence on the terms of each repository in use, and on sources under data-use agreements."""
    terms = {name: text for bundle in bundles for name, text in bundle.licences.items()}
    used = [Repository("dataset", member.source, member.revision) for member in (spec.data, *spec.data.mix)]
    found: dict[str, None] = {}
    if spec.model.repository is None:
        found[f"{spec.model.label}: the terms of this local base are not known to medtune; ask its owner"] = None
    else:
        used.insert(0, Repository("model", spec.model.repository, spec.model.commit))
    for repository in used:
        if repository.name in terms:
            found[f"{repository.name}: {terms[repository.name]}"] = None
        elif not is_local(repository.name) and not (repository.kind == "model" and spec.model.path):
            found |= dict.fromkeys(filter(None, [stated_terms(repository)]))
    return (*found, *_agreements(spec))


def _agreements(spec: RunSpec) -> Iterator[str]:
    """Yield a sentence on each data set in use that has sources under data-use agreements."""
    for name in dict.fromkeys(member.source for member in (spec.data, *spec.data.mix)):
        under = UNDER_AGREEMENT.get(name, ())
        in_use = [source for source in under if source not in spec.data.excluded]
        if spec.data.include_sources:
            in_use = [source for source in in_use if source in spec.data.include_sources]
        if in_use:
            yield (
                f"{name}: its rows of {', '.join(in_use)} come under data-use agreements that forbid redistribution; leave them out "
                "with --set data.exclude_sources=public"
            )
        elif under:
            yield f"{name}: its rows of {', '.join(under)}, which come under data-use agreements, are left out"
