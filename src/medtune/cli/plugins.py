"""``medtune plugins``: what is registered, and by whom."""

import typer

from medtune.cli.options import AsJson, Traceback

__all__ = ["app"]

app = typer.Typer(help="List what plugins provide.", invoke_without_command=True)


@app.callback()
def default(context: typer.Context) -> None:
    """List what plugins provide."""
    if context.invoked_subcommand is None:
        list_plugins()


@app.command("list")
def list_plugins(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """List every backend, formatter, task and bundle with the plugin that provides it."""
    from medtune.cli.console import print_json
    from medtune.plugins.host import KINDS, create_host

    host = create_host()
    listing = {kind: {name: owner for name, (_thing, owner) in host.provided(kind).items()} for kind in KINDS}
    if as_json:
        print_json({"plugins": listing})
        return
    for kind, names in listing.items():
        for name, owner in names.items():
            typer.echo(f"{kind:<10} {name:<20} {owner}")
