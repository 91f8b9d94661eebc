"""``medtune cache``: the prepared data sets kept on disk."""

import typer

from medtune.cli.options import AsJson, Traceback
from medtune.workflow.terminal import say

__all__ = ["app"]

app = typer.Typer(help="List or remove prepared data sets.", no_args_is_help=True)


@app.command("list")
def list_entries(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """List the prepared sets with their sizes, the longest unused first."""
    from medtune.cli.console import print_json
    from medtune.data.cache import PreparedCache, default_cache_dir

    entries = PreparedCache(default_cache_dir()).entries()
    if as_json:
        listed = [{"key": e.key, "size_bytes": e.size_bytes, "used": e.used} for e in entries]
        print_json({"cache": str(default_cache_dir()), "entries": listed})
        return
    say(f"{default_cache_dir()}: {len(entries)} sets")
    for entry in entries:
        say(f"{entry.key[:16]}  {entry.size_bytes / 2**20:8.1f} MiB")


@app.command()
def clear(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Remove every prepared set; the next run prepares its own anew."""
    from medtune.cli.console import print_json
    from medtune.data.cache import PreparedCache, default_cache_dir

    freed = PreparedCache(default_cache_dir()).clear()
    if as_json:
        print_json({"freed_bytes": freed})
    else:
        say(f"freed {freed / 2**20:.1f} MiB")
