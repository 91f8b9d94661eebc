"""The page on the conformance kit tells of every check what the check itself says."""

from pathlib import Path

from medtune.testing.conformance import all_checks

PAGE = (Path(__file__).parents[2] / "docs" / "plugin-kit.md").read_text()


def test_every_check_is_on_the_page_with_its_sentence():
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[3].strip()
        for line in PAGE.splitlines()
        if line.startswith("| `")
    }
    assert rows == {each.name: each.wants for each in all_checks()}
