"""YAML as text, read again before it is handed out."""

from collections.abc import Sequence
from typing import Any

__all__ = ["yaml_of"]


def yaml_of(documents: Sequence[dict[str, Any]]) -> str:
    """Return documents as YAML in which no text can be taken for anything else.

    Raises:
        ValueError: what is read from it is not what was written.
    """
    import yaml

    class Plain(yaml.SafeDumper):  # aliases are for people a riddle
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's name
            return True

        def represent_text(self, data: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Plain.add_representer(str, Plain.represent_text)
    text = yaml.dump_all(documents, Dumper=Plain, sort_keys=False, allow_unicode=False, width=10_000)
    if [*yaml.safe_load_all(text)] != [*documents]:
        raise ValueError("what was written as YAML reads otherwise")
    return text
