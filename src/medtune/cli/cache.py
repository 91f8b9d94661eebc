"""``medtune cache``: the prepared data sets kept on disk."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.options import AsJson, Traceback
from medtune.workflow.terminal import say

if TYPE_CHECKING:
    from medtune.data.cache import Cleared

__all__ = ["app"]

app = typer.Typer(help="List or remove prepared data sets.", no_args_is_help=True)


@app.command("list")
def list_entries(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """List the prepared sets: key, size, rows, when made and last used, and the data sets they were made of; the longest unused first."""
    from medtune.cli.console import print_json
    from medtune.data.cache import PreparedCache, default_cache_dir
    from medtune.data.cache_folder import require_readable

    require_readable(default_cache_dir())
    entries = PreparedCache(default_cache_dir()).entries()
    if as_json:
        listed = [
            {
                "key": e.key,
                "size_bytes": e.size_bytes,
                "used": e.used,
                "made": e.made,
                "rows": e.rows,
                "sources": list(e.sources),
            }
            for e in entries
        ]
        print_json({"cache": str(default_cache_dir()), "entries": listed})
        return
    say(f"{default_cache_dir()}: {len(entries)} sets")
    for entry in entries:
        figures = f"{entry.size_bytes / 2**20:8.1f} MiB  {entry.rows:9,} rows"
        times = f"made {_day(entry.made)}  used {_day(entry.used)}"
        say(f"{entry.key[:16]}  {figures}  {times}  {', '.join(entry.sources)}")


@app.command()
def remove(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys, or how they begin.")],
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Remove the prepared sets of these keys."""
    from medtune.data.cache import PreparedCache, default_cache_dir

    _tell(PreparedCache(default_cache_dir()).remove(keys), as_json=as_json)


@app.command()
def clear(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Remove every prepared set and nothing else; the next run prepares its own anew."""
    from medtune.data.cache import PreparedCache, default_cache_dir

    _tell(PreparedCache(default_cache_dir()).clear(), as_json=as_json)


def _tell(cleared: "Cleared", *, as_json: bool) -> None:
    from medtune.cli.console import print_json

    if as_json:
        left = [{"name": name, "reason": reason} for name, reason in cleared.left.items()]
        print_json({"freed_bytes": cleared.freed_bytes, "removed": cleared.removed, "left": left})
        return
    say(f"removed {cleared.removed} sets, freed {cleared.freed_bytes / 2**20:.1f} MiB")
    for name, reason in cleared.left.items():
        say(f"left {name[:16]}: it {reason}")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
