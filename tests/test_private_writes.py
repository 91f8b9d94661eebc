"""Every write in the source goes through the module that keeps files to their owner, or stands here with its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "src" / "medtune"

WRITERS = {
    "FileHandler", "NamedTemporaryFile", "ParquetWriter", "SpooledTemporaryFile", "TemporaryDirectory", "TemporaryFile", "copy2",
    "copyfile", "copyfileobj", "copytree", "hardlink_to", "link", "makedirs", "mkdir", "mkdtemp", "mkfifo", "mkstemp", "save_file",
    "save_pretrained", "savez", "symlink", "symlink_to", "to_csv", "to_parquet", "tofile", "touch", "write_bytes", "write_table",
    "write_text",
}  # fmt: skip
"""Functions and methods that make a file or a folder, whichever library they are of."""
OF_MODULES = {"np.save", "shutil.copy", "shutil.move", "sqlite3.connect", "torch.save"}
"""The same, of names that mean something else elsewhere."""

STAGED = "in a folder that `publish` made for its owner alone, renamed when it is whole; a sealed folder is read by who may enter it"
SCRATCH = "in a temporary folder, which Python makes for its owner alone"
CACHE_OF_HUB = "in the cache that the hub's own clients share; what is of a data set, under readable_by_owner"
OWNER_ONLY = "through medtune.machine.owner_only"

ELSEWHERE = {
    "backends/attached.py": {"mkdtemp": SCRATCH, "save_pretrained": STAGED, "write_text": STAGED},
    "backends/encoder.py": {"TemporaryDirectory": SCRATCH, "save_pretrained": "weights, in a folder of `make_folder`"},
    "backends/exact_state.py": {"save_file": STAGED, "write_text": STAGED},
    "backends/vllm.py": {"TemporaryDirectory": SCRATCH},
    "cli/result_stream.py": {"fdopen": "stdout again, no file"},
    "data/contract.py": {"write_text": STAGED},
    "data/encoding.py": {"fdopen": "a pipe to the process that started this one, no file"},
    "data/hub/asking.py": {"mkdir": CACHE_OF_HUB, "write_text": CACHE_OF_HUB},
    "data/hub/data_sets.py": {
        "TemporaryDirectory": SCRATCH, "mkdir": SCRATCH, "symlink_to": SCRATCH, "touch": SCRATCH
    },
    "data/hub/download.py": {"link": CACHE_OF_HUB, "mkdir": CACHE_OF_HUB, "write_text": CACHE_OF_HUB},
    "data/hub/repository.py": {"mkdir": CACHE_OF_HUB, "write_text": CACHE_OF_HUB},
    "data/hub/transfer.py": {
        "copyfile": CACHE_OF_HUB, "mkdir": CACHE_OF_HUB, "open": CACHE_OF_HUB, "symlink_to": CACHE_OF_HUB
    },
    "data/sources/opening.py": {"SpooledTemporaryFile": "has no name, so that nobody opens it", "copyfileobj": "into that file"},
    "data/tokenizer.py": {"save_pretrained": STAGED, "write_text": STAGED},
    "export/artifact_card.py": {"write_text": STAGED},
    "export/card.py": {"write_text": STAGED},
    "export/hub.py": {"copyfile": STAGED, "write_text": STAGED},
    "export/llama_cpp/ask_tokens.py": {"write_text": SCRATCH},
    "export/llama_cpp/ollama.py": {"write_text": STAGED},
    "export/llama_cpp/splitting.py": {"TemporaryDirectory": SCRATCH, "write_text": SCRATCH},
    "export/merged.py": {"copyfile": STAGED, "save_file": STAGED, "write_text": STAGED},
    "export/serving.py": {"copyfile": STAGED},
    "runs/durable.py": {"write_bytes": "into a file of `staged_beside`"},
    "runs/foreign_adapter.py": {"copyfile": STAGED, "write_text": STAGED},
    "runs/manifest.py": {"open": STAGED},
    "workflow/base_identity.py": {"write_text": STAGED},
    "workflow/bench.py": {"TemporaryDirectory": SCRATCH},
    "workflow/exporting/export.py": {"copy2": STAGED, "copytree": STAGED, "link": STAGED},
    "workflow/exporting/readers/by_llama_cpp.py": {"save": SCRATCH, "write_text": SCRATCH},
    "workflow/exporting/readers/by_transformers.py": {"save": SCRATCH, "write_text": SCRATCH},
    "workflow/exporting/reload.py": {"TemporaryDirectory": SCRATCH, "write_text": SCRATCH},
    "workflow/kept_adapter.py": {"copytree": STAGED, "write_text": STAGED},
    "workflow/kernels_program.py": {"TemporaryDirectory": SCRATCH},
    "workflow/stages/fit.py": {"save_pretrained": STAGED},
}  # fmt: skip
"""File -> function that writes -> why it need not go through the module."""


def writes(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield name and line of each call that makes a file or a folder."""
    own = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "medtune.machine.owner_only"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            dotted = ast.unparse(node.func)
            name = dotted.rpartition(".")[2]
            is_write = name in WRITERS or dotted in OF_MODULES or (name in {"open", "fdopen"} and may_write(node))
            if is_write and dotted not in own:
                yield name, node.lineno


def may_write(call: ast.Call) -> bool:
    """Whether an ``open`` has a mode, or flags, other than one that is seen to read."""
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg in {"mode", "flags"})]
    texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    modes = [text for text in texts if set(text) <= set("rwaxbt+") and text]
    unseen = [
        each for each in given if isinstance(each, ast.IfExp | ast.Attribute) and "mode" in ast.unparse(each).lower()
    ]
    flags = any("O_" in ast.unparse(each) and "O_RDONLY" not in ast.unparse(each) for each in given)
    conditional = any(isinstance(each, ast.IfExp) for each in given)
    return flags or conditional or bool(unseen) or any(set(mode) & set("wax+") for mode in modes)


def found() -> dict[str, dict[str, int]]:
    """Return file -> function -> line of a write, of all rooms but the one that writes for tests alone."""
    rooms = [file for file in sorted(HOUSE.rglob("*.py")) if file.relative_to(HOUSE).parts[0] != "testing"]
    named = {file.relative_to(HOUSE).as_posix(): dict(writes(ast.parse(file.read_text()))) for file in rooms}
    return {file: calls for file, calls in named.items() if calls and file != "machine/owner_only.py"}


def test_every_write_keeps_its_file_to_the_owner_or_says_why_not():
    calls = {(file, name) for file, lines in found().items() for name in lines}
    listed = {(file, name) for file, reasons in ELSEWHERE.items() for name in reasons}
    assert calls - listed == set(), "write it through medtune.machine.owner_only, or list it with a reason"
    assert listed - calls == set(), "these are gone; take them off the list"


def test_a_write_is_seen_in_each_of_its_forms():
    forms = [
        "path.write_text('x')", "open(path, 'w')", "path.open(mode='ab')", "path.open('a' if again else 'w')", "os.open(path, os.O_WRONLY)",
        "np.save(path, x)", "shutil.copyfile(a, b)", "model.save_pretrained(folder)", "folder.mkdir()", "sqlite3.connect(path)",
        "open(path, self._mode)",
    ]  # fmt: skip
    for form in forms:
        assert [*writes(ast.parse(form))], form
    for form in (
        "path.open('rb')",
        "open(path)",
        "os.open(path, os.O_RDONLY)",
        "Run.open(path, plugins=x)",
        "copy.copy(x)",
    ):
        assert not [*writes(ast.parse(form))], form
    assert not [*writes(ast.parse("from medtune.machine.owner_only import write_text\nwrite_text(path, 'x')"))]
