"""Adapters of every kind load in plain peft as they were trained, and those that would not are refused beforehand."""

from pathlib import Path

import adapter_table as table
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
CHOSEN = (
    "none default LoRA none",
    "none default rsLoRA all",
    "none gaussian DoRA lora_only",
    "none pissa LoRA none",
    "none olora rsLoRA none",
    "none orthogonal rsLoRA and DoRA none",
    "nf4 default rsLoRA and DoRA none",
    "nf4 default LoRA all",
    "int8 gaussian rsLoRA lora_only",
    "fp8 default LoRA none",
    "none pissa DoRA none",
    "none olora LoRA all",
    "nf4 orthogonal LoRA none",
    "fp8 default DoRA none",
    "int8 default DoRA none",
    "nf4 loftq LoRA none",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return table.make_base(tmp_path_factory.mktemp("biased") / "base")


def on_the_page():
    page = PAGE.read_text("utf-8")
    return "\n".join(
        line for line in page.splitlines() if line.startswith(("| scheme | init", "| --- | --- | ---", "| `"))
    )


def test_chosen_adapters_load_in_plain_peft_or_are_refused_as_the_page_says(base, tmp_path):
    cells = {asked.name: asked for asked in table.every()}
    found = table.try_all(base, tmp_path, [cells[name] for name in CHOSEN])
    said = dict(row_cells(on_the_page()))
    assert {name: table.cell(off) for name, off in found.items()} == {name: said[name] for name in CHOSEN}
    assert {table.cell(off) for off in found.values()} == {"yes", "no", "GPU"}


def row_cells(text):
    for line in text.splitlines()[2:]:
        scheme, init, *kinds = (part.strip(" `") for part in line.strip("|").split(" | "))
        for kind, each in zip(table.KINDS, kinds, strict=True):
            for bias, value in zip(table.BIASES, each.split(", "), strict=True):
                yield f"{scheme} {init} {kind} {bias}", value


@pytest.mark.proof
def test_the_page_has_the_whole_table(base, tmp_path):
    found = table.try_all(base, tmp_path, table.every())
    measured = [off for off in found.values() if not isinstance(off, str)]
    print(table.markdown(found))
    print(f"{len(measured)} adapters of {len(found)}, at most {max(measured):.1e} off")
    assert table.markdown(found) == on_the_page()
