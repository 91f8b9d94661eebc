"""The example plugin is a distribution of its own: installed into a fresh environment, found by its entry point."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import medtune

EXAMPLE = Path(__file__).parents[2] / "examples" / "medtune-plugin-example"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Interpreter of a fresh environment with the example installed; the dependencies are those already here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    site = Path(
        subprocess.run(
            [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
    )  # fmt: skip
    here = [sysconfig.get_path("purelib"), str(Path(medtune.__file__).parents[1])]
    (site / "dependencies.pth").write_text("\n".join(here) + "\n")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", str(site), str(EXAMPLE),
        ],
        check=True,
    )  # fmt: skip
    return interpreter


def call(python, *arguments, **variables):
    done = subprocess.run(
        [python, "-m", "medtune", *arguments, "--json"],
        capture_output=True, text=True, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_the_installed_formatter_and_bundle_are_listed_with_their_owner(python):
    code, listed = call(python, "plugins", "list")
    assert code == 0
    assert listed["plugins"]["formatter"]["discharge"] == "example"
    assert listed["plugins"]["bundle"]["demo-discharge"] == "example"


def test_the_installed_bundle_is_used_with_its_formatter(python, tmp_path):
    (tmp_path / "letters.jsonl").write_text('{"letter": "A letter .", "summary": "A summary ."}\n')
    code, checked = call(
        python, "check", "--bundle", "demo-discharge", "--set", f"data.source={tmp_path / 'letters.jsonl'}"
    )
    assert code == 0
    assert checked["spec"]["data"]["formatter"] == "discharge"


def test_the_installed_formatter_formats_rows(python, tmp_path):
    rows = "".join(json.dumps({"letter": f"Letter {i} .", "summary": f"Summary {i} ."}) + "\n" for i in range(30))
    (tmp_path / "letters.jsonl").write_text(rows)
    code, shown = call(
        python, "preview", "--bundle", "demo-discharge", "--set", f"data.source={tmp_path / 'letters.jsonl'}", "-n", "2",
        MEDTUNE_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert code == 0
    assert {row["source"] for row in shown["rows"]} == {"letters"}


def test_the_installed_plugin_is_left_out_when_autoload_is_off(python):
    code, failed = call(python, "check", "--bundle", "demo-discharge", MEDTUNE_DISABLE_PLUGIN_AUTOLOAD="1")
    assert code == 2
    assert "no bundle named 'demo-discharge'" in failed["error"]["message"]
