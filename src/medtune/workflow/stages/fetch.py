"""Stage zero: every repository at one commit, and its files on this machine, checked; what follows asks the hub nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medtune.data.fetching import fetch_rows
from medtune.data.hub.download import Listener
from medtune.data.hub.models import described, loadable, require_room
from medtune.data.hub.pins import pinned
from medtune.errors import HubError
from medtune.machine.hardware import first_rank_says, is_first_rank
from medtune.planning.make_plan import make_plan
from medtune.plugins.plan import Plan
from medtune.workflow.state import RunRequest

__all__ = ["fetch", "pin"]


def pin(asked: RunRequest) -> RunRequest:
    """Return the request with a commit for every repository: those that the run began with, else what the hub says now.

    Raises:
        HubError: a branch has to be asked for and the hub cannot be, or refuses.
    """
    record: Mapping[str, Any] = asked.folder.read() if is_first_rank() and asked.folder.exists else {}
    if first_rank_says(bool(record) and "commits" not in record):
        return asked  # a record from before commits were kept; it is continued as it was begun
    listener = Listener(asked.on_stage)
    known = record.get("commits", ())
    found = pinned(asked.spec, listener, known=known, has_rows=asked.rows is not None) if is_first_rank() else None
    spec, pins = first_rank_says(found) or (asked.spec, [])
    return replace(asked, spec=spec, pins=tuple(each.to_json() for each in pins))


def fetch(asked: RunRequest) -> RunRequest:
    """Make everything local, the small things first, and return the request with the plan that they lead to.

    Raises:
        HubError: the hub cannot be reached, or refuses; what was fetched is kept.
        CorruptDownloadError: a file is not what the hub states.
        DiskFullError: there is no room for the weights.
        OutOfMemoryError: the model's own configuration says that it does not fit; no weights were fetched.
    """
    listener = Listener(asked.on_stage, asked.on_download) if is_first_rank() else Listener()
    spec = asked.spec
    try:
        described(spec.model, listener)
    except HubError:
        _require_fit(asked, asked.plan)  # what a bundle states of the model is enough to refuse it
        raise
    plan = make_plan(spec, asked.host)
    if plan != asked.plan and plan.fits:
        asked.on_plan(plan)
    _require_fit(asked, plan)
    require_room(spec.model, listener)
    fetch_rows(spec.data, listener, has_rows=asked.rows is not None)
    loadable(spec.model, listener)
    return replace(asked, plan=plan)


def _require_fit(asked: RunRequest, plan: Plan) -> None:
    """Refuse a plan that does not fit, once it was told."""
    if not plan.fits:
        asked.on_plan(plan)
    plan.require_fit()
