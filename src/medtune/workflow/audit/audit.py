"""Audits a run: asks adapter and base for canaries, for copies of training rows, and for who was trained on, and keeps the figures."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.data.lengths import MOST_NAMED
from medtune.errors import SpecError
from medtune.evaluation.intervals import difference_of_shares, wilson
from medtune.evaluation.memorization.copied_spans import LONG_ANSWER, is_copied
from medtune.evaluation.memorization.findings import LIMITS, TRIED, findings, remembers
from medtune.evaluation.memorization.membership import ATTACKS, Rows, attack_scores, separation
from medtune.export.audit_section import AUDIT_FILE
from medtune.machine.owner_only import make_folder
from medtune.plugins.contracts import AnswerRequest, GenerationRequest
from medtune.runs.durable import attempt, replace_file
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.record.recording import recorded
from medtune.workflow.answering import Answering
from medtune.workflow.audit.canaries import canary_figures, probe, probes_of
from medtune.workflow.audit.request import AuditRequest
from medtune.workflow.audit.rows import AskedRow, compared_rows
from medtune.workflow.kept_adapter import keep_card

__all__ = ["AuditRequest", "keep_audit", "run_audit"]

_LONGEST = 256
"""Tokens of an answer that a model is let write when copies are looked for."""
_Tokens = Sequence[Sequence[float]]
_Side = list[tuple[AskedRow, Mapping[str, float]]]


def run_audit(request: AuditRequest) -> dict[str, Any]:
    """Return what ``Run.audit`` returns, and keep it in the run folder.

    Raises:
        DataError: the rows are no longer those of the run, or were never known.
        SpecError: the generator cannot say how probable an answer is.
        RunLockedError: another process writes in the run folder.
    """
    loaded = request.loaded()
    answering = Answering(loaded, request.spec, request.host)
    if not answering.gives_probabilities:
        raise SpecError(
            f"eval.backend '{request.spec.eval.backend}' gives no log-probabilities, which an audit compares; use transformers"
        )
    compared = compared_rows(request)
    members, outsiders = compared.members, compared.outsiders
    probes = probes_of(request, compared.encoder)
    found: dict[str, Any] = {}
    request.on_stage(f"asking the adapter about {len(members):,} rows on each side and {len(probes):,} canaries")
    tuned = _ask(answering, members, outsiders), probe(answering, probes)
    request.on_stage("asking the base model the same")
    with loaded.base_only():
        base = _ask(answering, members, outsiders), probe(answering, probes)
    found["canaries"] = canary_figures(probes, tuned[1], base[1])
    found["verbatim"] = _verbatim(members, outsiders, tuned[0], base[0])
    found["membership"] = _membership(members, outsiders, (tuned[0].losses, base[0].losses), request.spec.seed)
    found |= {"left_out": dict(compared.left_out), "rows_per_source": request.rows_per_source}
    found |= {"tried": TRIED, "findings": findings(found), "limits": LIMITS, "remembers": remembers(found)}
    return keep_audit(request.folder, found)


class _Asked:
    """What a model said of the rows of both sides: of each the losses, of each with a long answer whether it copies it."""

    def __init__(self, losses: _Tokens, copies: Sequence[bool]) -> None:
        self.losses, self.copies = losses, copies


def _ask(answering: Answering, members: Sequence[AskedRow], outsiders: Sequence[AskedRow]) -> _Asked:
    rows = [*members, *outsiders]
    losses = [of[0] for of in answering.log_probabilities([AnswerRequest(r.prompt, [r.answer]) for r in rows])]
    long = [row for row in rows if _is_long(row)]
    given = answering.answer([GenerationRequest(row.prompt, min(len(row.answer), _LONGEST)) for row in long])
    texts = [(row.answer[:-1], found.token_ids, row.prompt) for row, found in zip(long, given, strict=True)]
    return _Asked(losses, [is_copied(*each) for each in texts])


def _is_long(row: AskedRow) -> bool:
    return len(row.answer) > LONG_ANSWER  # the last token ends it


def _verbatim(
    members: Sequence[AskedRow], outsiders: Sequence[AskedRow], tuned: _Asked, base: _Asked
) -> dict[str, Any]:
    """Return how many long answers are copied: of training rows by adapter and base, of held-out rows by the adapter."""
    count, others = sum(map(_is_long, members)), sum(map(_is_long, outsiders))
    own, unseen = _share(tuned.copies[:count]), _share(tuned.copies[count:])
    return {
        "tuned": own,
        "base": _share(base.copies[:count]),
        "held_out": unseen,
        "difference": difference_of_shares(own["copied"], count, unseen["copied"], others),
        "rows": {"members": count, "held_out": others},
    }


def _share(copies: Sequence[bool]) -> dict[str, Any]:
    share = sum(copies) / len(copies) if copies else None
    return {
        "copied": sum(copies),
        "share": share,
        "interval": None if share is None else list(wilson(share, len(copies))),
    }


def _membership(
    members: Sequence[AskedRow], outsiders: Sequence[AskedRow], losses: tuple[_Tokens, _Tokens], seed: int
) -> dict[str, Any]:
    """Return the figures of all rows and of each source: ``members``, ``held_out``, ``attacks``, ``strongest``, ``base``."""
    tuned, base = losses
    rows = [*members, *outsiders]
    scored = [attack_scores(*each) if _finite(each) else None for each in zip(tuned, base, strict=True)]
    sides: dict[str, tuple[_Side, _Side]] = {}
    for place, (row, scores) in enumerate(zip(rows, scored, strict=True)):
        if scores is not None:
            for name in ("", f"of {row.source}"):
                sides.setdefault(name, ([], []))[place >= len(members)].append((row, scores))
    figures = {name: _figures(one, other, seed) for name, (one, other) in sides.items() if one and other}
    sources = {name.removeprefix("of "): of for name, of in figures.items() if name}
    return {
        "all": figures.get("", {}),
        "sources": sources if len(sources) <= MOST_NAMED else {},
        "not_finite": scored.count(None),
    }


def _finite(losses: Sequence[Sequence[float]]) -> bool:
    return all(math.isfinite(loss) for of in losses for loss in of)


def _figures(members: _Side, outsiders: _Side, seed: int) -> dict[str, Any]:
    def side(of: _Side, attack: str) -> Rows:
        return Rows(np.array([scores[attack] for _row, scores in of]), [row.unit for row, _scores in of])

    each = {name: separation(side(members, name), side(outsiders, name), seed) for name in (*ATTACKS, "base")}
    base = each.pop("base")
    strongest = max(ATTACKS, key=lambda name: each[name]["auc"])
    return {
        "members": len(members),
        "held_out": len(outsiders),
        "attacks": each,
        "strongest": strongest,
        "base": base,
    }


def keep_audit(folder: RunFolder, found: dict[str, Any]) -> dict[str, Any]:
    """Write the figures into the run folder, and what was found into the adapter's card; return them as they are read again."""
    with RunLock(folder.path), recorded(folder.path, "audit", ("adapter/", "evaluation/", "run.json")) as record:
        keep_card(folder, found, record.promise_for(folder.adapter_dir.name))
        content = json.dumps(found, indent=1, allow_nan=False).encode()
        attempt(lambda: make_folder(folder.evaluation_dir), "the audit", folder.evaluation_dir)
        replace_file(folder.evaluation_dir / AUDIT_FILE, content, "the audit")
    kept: dict[str, Any] = json.loads(content)
    return kept
