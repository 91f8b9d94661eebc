"""Distributions with plugins, laid out in a folder as an installer leaves them."""

import re
import sys
import textwrap

FORMATTER = """
from medtune import Example, hookimpl

class Formatter:
    name, version = "{name}", "1"

    def format(self, row):
        turns = [{{"role": "user", "content": row["q"]}}, {{"role": "assistant", "content": row["a"]}}]
        return Example(turns, source="own")

@hookimpl
def provide_formatters():
    return [Formatter()]
"""


def install(folder, name, code, *, version="1.0", entry=None):
    """Put a distribution of one module into a folder of ``sys.path``; return the module's name."""
    module = "plugin_" + re.sub(r"\W", "_", name).lower()
    sys.modules.pop(module, None)
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(f"[medtune]\n{entry or name} = {module}\n")
    return module
