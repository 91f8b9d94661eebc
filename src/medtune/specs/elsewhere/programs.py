"""The programs whose configurations can be read, and what one of their keys means to who writes it into a spec."""

from collections.abc import Mapping

from medtune.specs.elsewhere.axolotl import AXOLOTL
from medtune.specs.elsewhere.huggingface import TRL
from medtune.specs.elsewhere.llama_factory import LLAMA_FACTORY
from medtune.specs.elsewhere.meanings import Meaning, Program
from medtune.specs.elsewhere.ms_swift import MS_SWIFT
from medtune.specs.elsewhere.unsloth import UNSLOTH

__all__ = ["PROGRAMS", "meaning_of", "meant_by"]

PROGRAMS: Mapping[str, Program] = {
    "trl": TRL,
    "axolotl": AXOLOTL,
    "llama-factory": LLAMA_FACTORY,
    "ms-swift": MS_SWIFT,
    "unsloth": UNSLOTH,
}
"""Name on the command line -> program."""


def meaning_of(key: str) -> Meaning | None:
    """Return what the first program that has a key means by it."""
    return next((program.keys[key] for program in PROGRAMS.values() if key in program.keys), None)


def meant_by(key: str) -> str:
    """Say what a key of another program is called here, or why it is not here; empty where no program has it.

    >>> meant_by("cutoff_len")
    "LLaMA-Factory's cutoff_len is train.max_length here"
    """
    program = next((program for program in PROGRAMS.values() if key in program.keys), None)
    if program is None:
        return ""
    meaning = program.keys[key]
    if meaning.field:
        return f"{program.name}'s {key} is {meaning.field} here"
    return f"{program.name}'s {key} is {meaning.verdict} here: {meaning.why}"
