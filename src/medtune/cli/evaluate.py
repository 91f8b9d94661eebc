"""``medtune evaluate``, ``score`` and ``chat``: what a model answers and what that is worth."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files, plugin_files_for
from medtune.cli.serve import TOKEN_VARIABLE, TokenFile
from medtune.errors import SpecError
from medtune.workflow.terminal import say

__all__ = ["add_to"]

RunFolderArgument = Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="Run folder.")]
BasePath = Annotated[
    Path | None,
    typer.Option("--base", exists=True, file_okay=False, help="Folder of the run's base, where it was moved."),
]

_PARAPHRASES = ("--paraphrases", "--wordings")  # and its former name


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (evaluate, score, chat):
        app.command()(command)


def evaluate(
    run: RunFolderArgument,
    baseline: Annotated[bool, typer.Option("--baseline", help="Also score the base, and compare.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Validation rows per source.")] = None,
    paraphrases: Annotated[
        int,
        typer.Option(*_PARAPHRASES, min=1, help="Ask the rows so often, each time in other words of their source."),
    ] = 1,
    harness: Annotated[
        str | None, typer.Option(help="Tasks of lm-evaluation-harness instead, such as medqa_4options,pubmedqa.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions per task of the harness.")] = None,
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="Put the harness' questions through the model's chat template.")
    ] = False,
    task_folder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of your own tasks (YAML) for the harness.")
    ] = None,
    base: BasePath = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Score a run's adapter (and with --baseline its base) per task."""
    from medtune.cli.console import print_evaluation, print_harness, print_json
    from medtune.workflow.run import Run

    own = {"--rows": rows is not None, "--paraphrases": paraphrases > 1}
    theirs = {"--limit": limit is not None, "--chat-template": chat_template, "--task-folder": task_folder is not None}
    _refuse(theirs if harness is None else own, "needs" if harness is None else "does not go with")
    opened = Run.open(run, base=base, plugins=plugin_files_for(run, plugins))
    if harness is not None:
        names = [name.strip() for name in harness.split(",") if name.strip()]
        folder = None if task_folder is None else str(task_folder)
        figures = opened.harness(names, baseline=baseline, limit=limit, chat=chat_template, folder=folder)
        (print_json if as_json else print_harness)(figures)
        return
    result = opened.evaluate(baseline=baseline, rows_per_source=rows, paraphrases=paraphrases)
    (print_json if as_json else print_evaluation)(result)


def _refuse(given: Mapping[str, bool], why: str) -> None:
    """Refuse options that would be ignored."""
    for name, is_given in given.items():
        if is_given:
            raise SpecError(f"{name} {why} --harness")


def score(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", readable=False, help="Lines of task, input, gold and prediction.")
    ],
    against: Annotated[
        Path | None, typer.Option(metavar="OTHER.jsonl", help="Another system's answers, to test against row by row.")
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option(metavar="SPEC", help="File with [[tasks]] tables, such as a run's spec.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help='Such as \'tasks=[{source="notes", kind="free-text"}]\'.'),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="Share of trusted answers that may be wrong, where lines have a confidence."
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Score predictions that any system made; loads no machine learning library."""
    from medtune.cli.console import print_evaluation, print_json
    from medtune.plugins.host import create_host
    from medtune.workflow.score_files import score_files, tasks_in

    result = score_files(
        file, against, tasks_in(tasks, settings or ()), create_host(plugin_files(plugins)).all("task"), alpha
    )
    (print_json if as_json else print_evaluation)(result)


def chat(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", readable=False, help="Run folder; none with --url.")
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="Ask this once and print the answer.")] = None,
    base: BasePath = None,
    url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint to ask instead of a run.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model of --url; by default the first.")] = None,
    token_file: TokenFile = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Talk with the tuned model; nothing is kept. It is a research model and its answers are no medical advice."""
    from medtune.cli.console import print_json

    if (run is None) == (url is None):
        raise SpecError("give a RUN or --url, one of them")
    if url is None and (model is not None or token_file is not None):
        raise SpecError("--model and --token-file go with --url")
    if run is None and base is not None:
        raise SpecError("--base goes with a RUN")
    partner = _Local(run, base, plugins) if run is not None else _Remote(str(url), model, token_file)
    if message is None and not as_json:
        partner.chat()
        return
    text = message if message is not None else typer.get_text_stream("stdin").read()
    answer = partner.answer(text)
    if as_json:
        print_json({"answer": answer})
    else:
        say(answer)


class _Local:
    """A run in this process."""

    def __init__(self, run: Path, base: Path | None, plugins: list[Path] | None) -> None:
        from medtune.workflow.run import Run

        self._run = Run.open(run, base=base, plugins=plugin_files_for(run, plugins))

    def chat(self) -> None:
        self._run.chat()

    def answer(self, text: str) -> str:
        return self._run.generate([{"role": "user", "content": text}])


class _Remote:
    """A model behind a URL."""

    def __init__(self, url: str, model: str | None, token_file: Path | None) -> None:
        from urllib.parse import urlsplit

        from medtune.machine.network import allow_client
        from medtune.serving.client import Client
        from medtune.serving.token import read_token

        parts = urlsplit(url)
        allow_client(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._client = Client(url, read_token(token_file, os.environ.get(TOKEN_VARIABLE)), model)

    def chat(self) -> None:
        self._client.chat(sys.stdin, sys.stdout)

    def answer(self, text: str) -> str:
        return "".join(self._client.answer([{"role": "user", "content": text}]))
