"""The table of families in docs/models.md is what the proof measures on tiny models; run this file to write it anew."""

from pathlib import Path

import pytest

import families
from families import FAMILIES, is_installed, job_of
from medtune.backends.proved import prove_route
from medtune.errors import UnprovenBaseError

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
LARGEST = 1e-5


def measured(name):
    """Return how a family is trained, the errors of its loss and gradients, and why not in a faster way."""
    try:
        proof = prove_route(job_of(name)).proof
    except UnprovenBaseError as error:
        return name, "refused", None, None, error.reasons[0]
    passed = "; ".join(f"{way}: {reason.partition(',')[0]}" for way, reason in proof["passed_over"].items())
    return name, proof["route"], proof["loss_error"], proof["gradient_error"], passed


def line_of(found):
    name, route, loss, gradient, why = found
    shown = ["" if error is None else f"{error:.0e}" for error in (loss, gradient)]
    return "| " + " | ".join([f"`{name}`", route, *shown, why]) + " |"


def written():
    """Return the lines of the table in the docs, by family."""
    text = PAGE.read_text("utf-8")
    lines = text[text.index(BEGIN) : text.index(END)].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_table_names_every_family_and_none_is_off():
    rows = written()
    assert set(rows) == set(FAMILIES)
    assert len(rows) >= 45
    for name, (route, loss, gradient, why) in rows.items():
        if route == "refused":
            assert why, name
        else:
            assert max(float(loss), float(gradient)) <= LARGEST, name


@pytest.mark.proof
@pytest.mark.parametrize("name", FAMILIES)
def test_a_line_of_the_table_is_what_is_measured(name):
    if not is_installed(name):
        pytest.skip("the installed transformers has no such family")
    found = measured(name)
    assert found[1] == written()[name][0], found[4]
    if found[1] != "refused":
        assert max(found[2], found[3]) <= LARGEST


def write():
    """Write the table into the page."""
    head = "| family | trained by | loss | gradients | why no faster way |\n| --- | --- | --- | --- | --- |\n"
    lines = [line_of(measured(name)) for name in families.FAMILIES]
    text = PAGE.read_text("utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:begin] + "\n" + head + "\n".join(lines) + "\n" + text[end:], "utf-8")


if __name__ == "__main__":
    write()
