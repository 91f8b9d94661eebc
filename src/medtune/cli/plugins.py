"""``medtune plugins``: what is registered and by whom, whether a plugin is right, and a new one to begin with."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files
from medtune.errors.visible import visible
from medtune.workflow.terminal import say, terminal

if TYPE_CHECKING:
    from medtune.plugins.host import PluginHost

__all__ = ["app"]

app = typer.Typer(help="List what plugins provide, check one, or begin a new one.", invoke_without_command=True)


@app.callback()
def default(context: typer.Context) -> None:
    """List what plugins provide."""
    if context.invoked_subcommand is None:
        list_plugins()


@app.command("list")
def list_plugins(plugins: Plugins = None, as_json: AsJson = False, traceback: Traceback = False) -> None:
    """List plugins with distribution, version and hooks, what each provides, and what is disabled and why."""
    from medtune.cli.console import print_json
    from medtune.plugins.host import KINDS, create_host

    host = create_host(plugin_files(plugins))
    provided = {kind: {name: owner for name, (_thing, owner) in host.provided(kind).items()} for kind in KINDS}
    brought = [_described(host, name) for name, _plugin in host.manager.list_name_plugin()]
    disabled = dict(host.disabled)
    if as_json:
        print_json({"plugins": provided, "registered": brought, "disabled": disabled})
        return
    for each in brought:
        origin = f"{each['distribution']} {each['version']}".strip() or each["file"] or "handed over in Python"
        say(f"{each['plugin']:<32} {origin:<28} {', '.join(each['hooks'])}")
        if each["entry"]:
            say(f"{'':<32} {each['entry']}")
    say("")
    for kind, names in provided.items():
        for name, owner in names.items():
            say(f"{kind:<10} {name:<20} {owner}")
    for name, reason in disabled.items():
        say(f"{'disabled':<10} {name:<20} {reason}")


def _described(host: "PluginHost", name: str) -> dict[str, Any]:
    """Return what is known of a registered plugin, and under ``entry`` what pins it in a list of plugins."""
    from medtune.plugins.allowed import entry_of

    plugin, origin = host.manager.get_plugin(name), host.origin(name)
    hooks = sorted(hook.name for hook in host.manager.get_hookcallers(plugin) or ())
    file = "" if origin.distribution else str(getattr(plugin, "__file__", "") or "")
    known = {"distribution": origin.distribution, "version": origin.version, "file": file}
    entry = "" if origin.is_own else entry_of(origin.distribution, file)
    observes = any(not hook.startswith("provide_") for hook in hooks)
    return {"plugin": name, **known, "hooks": hooks, "observes": observes, "entry": entry}


@app.command("check")
def check_plugins(
    what: Annotated[str, typer.Argument(metavar="DIST|MODULE|FILE.py", help="What to check.")],
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Check only this kind of thing.")] = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Try a plugin by the conformance kit; exit code 2 where a check fails."""
    from medtune.cli.console import print_json

    report = _kit().check_plugin(what, kinds=kinds, on_finding=_progress)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if not report.is_right:
        raise typer.Exit(2)


def _kit() -> Any:
    """Return the conformance kit, which no other command needs."""
    return import_module("medtune.testing.conformance")


def _progress(finding: Any) -> None:
    """Say on stderr what is being checked; where it is no terminal only what failed."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{visible(f'{finding.subject}: {finding.check}')[:96]}", end="", file=sys.stderr, flush=True)
    elif finding.state == "failed":
        say(f"failed: {finding}", err=True)


def _print(report: Any) -> None:
    from rich.table import Table

    console = terminal()
    if report.failed:
        table = Table(title=f"What is wrong with {report.plugin}", title_justify="left")
        for column in ("of", "check", "found", "wanted"):
            table.add_column(column, overflow="fold")
        for each in report.failed:
            table.add_row(each.subject, each.check, each.found, each.wants)
        console.print(table)
    for reason in dict.fromkeys(f"{f.subject}: {f.found}" for f in report.findings if f.state == "not tried"):
        console.print(f"not tried, {reason}", highlight=False, markup=False, soft_wrap=True)
    counts = f"{report.count('passed')} checks passed, {len(report.failed)} failed"
    console.print(f"{report.plugin}: {counts}, {report.count('not tried')} not tried", highlight=False, markup=False)


@app.command("new")
def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the distribution, such as medtune-letters.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="formatter, task, ..., bundle or observer.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder in which the new one is made.")] = Path(),
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write a small package that provides one thing, with tests that pass."""
    from medtune.cli.console import print_json
    from medtune.machine.owner_only import refuse_in_run

    refuse_in_run(to)
    folder = _kit().write_package(name, kind, to)
    if as_json:
        print_json({"folder": str(folder), "kind": kind})
    else:
        say(f"{folder}: install it with `pip install -e {folder}`, then run `pytest {folder}`")
