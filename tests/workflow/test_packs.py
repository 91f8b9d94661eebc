"""Benchmark sets are imported by their recipe, and sizes that are not the official ones are said."""

import json

import pytest

from medtune.cli.app import run as command
from medtune.data.importers.formats import FORMATS
from medtune.data.importers.options import ImportOptions, Task
from medtune.data.importers.reading import Input
from medtune.errors import SpecError, UnknownNameError
from medtune.evaluation.packs.recipes import packs, split_of
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, Prediction
from medtune.workflow.baselines.published import published_beside
from medtune.workflow.packs import import_pack

WANTED = {"ncbi-disease", "bc5cdr", "bc2gm", "jnlpba", "hoc", "gad", "chemprot", "ddi", "pubmedqa", "medqa", "medmcqa"}


@pytest.fixture
def pubtator(tmp_path):
    """A file of that many documents with a mention each."""

    def write(documents):
        text = "Turgaemia was seen"
        parts = [f"{n}|t|{text}.\n{n}|a|None.\n{n}\t0\t9\tTurgaemia\tDisease\tD1\n" for n in range(1, documents + 1)]
        file = tmp_path / f"{documents}.txt"
        file.write_text("\n".join(parts))
        return file

    return write


def test_every_recipe_names_real_tasks_formats_and_splits():
    assert set(packs()) == WANTED
    tasks = {task.name for task in provide_tasks()}
    for pack in packs().values():
        assert pack.task in tasks
        assert pack.format in (*FORMATS, "")
        assert pack.ask in (*Task, "")
        assert bool(pack.ask) == bool(pack.format)
        assert pack.home.startswith(("http://", "https://"))
        assert all((pack.title, pack.licence, pack.citation, pack.note, pack.sources))
        for one in pack.published:
            assert pack.split(one.split).rows, "a figure of a split without a size could stand beside any rows"
            assert 0 < one.value < 1
            assert "arXiv" in one.citation


def test_a_split_is_told_by_its_size_alone():
    assert split_of("ner", 940, 0)[0].name == "ncbi-disease"
    assert split_of("ner", 940, 100)[1].name == "test"
    assert split_of("ner", 940, 101) is None
    assert split_of("qa", 940, 0) is None
    assert split_of("ner", 12, 0) is None


def test_the_official_number_of_documents_is_said_to_be_so(pubtator, tmp_path):
    report, check = import_pack("ncbi-disease", "test", Input(pubtator(100)), tmp_path / "rows.jsonl", ImportOptions())
    assert (report.format, report.task, report.documents) == ("pubtator", Task.NER, 100)
    assert check.to_json()["matches"] is True
    assert check.compared == ("documents",)  # sentences were cut by medtune
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])["source"] == "ncbi-disease"


def test_another_number_is_said_aloud(pubtator, tmp_path, capsys):
    out = str(tmp_path / "rows.jsonl")
    arguments = ["import", str(pubtator(3)), "--to", out, "--pack", "ncbi-disease", "--split", "test"]
    assert command([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["pack"]["matches"] is False
    assert "NOT the official split: 3 documents were read, and the official split has 100" in printed.err


def test_a_recipe_is_shown_without_a_file(capsys):
    assert command(["import", "--pack", "pubmedqa"]) == 0
    assert "https://github.com/pubmedqa/pubmedqa" in capsys.readouterr().out
    assert command(["import", "--pack", "hoc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["licence"].startswith("GPL")


def test_what_a_recipe_cannot_do_is_refused(pubtator, tmp_path, capsys):
    source, target = Input(pubtator(1)), tmp_path / "rows.jsonl"
    with pytest.raises(UnknownNameError, match="no pack named 'ncbi'"):
        import_pack("ncbi", "test", source, target, ImportOptions())
    with pytest.raises(UnknownNameError, match="no split of NCBI disease corpus named 'validation'"):
        import_pack("ncbi-disease", "validation", source, target, ImportOptions())
    with pytest.raises(SpecError, match=r"say which split .* --split train\|dev\|test"):
        import_pack("ncbi-disease", None, source, target, ImportOptions())
    with pytest.raises(SpecError, match="no format of `medtune import` reads Hallmarks of Cancer"):
        import_pack("hoc", "test", source, target, ImportOptions())
    assert command(["import", str(source.path)]) == 2
    assert command(["import", str(source.path), "--to", str(target), "--split", "test"]) == 2
    assert "--split needs --pack" in capsys.readouterr().err


@pytest.mark.parametrize(("types", "stand"), [(("Disease",), True), (("Disease", "Modifier"), False), ((), False)])
def test_figures_of_one_type_do_not_stand_beside_those_of_several(types, stand):
    tags = [*(f"B-{kind}" for kind in types), "O"]
    answer = "\n".join(f"w{place} : {tag}" for place, tag in enumerate(tags))
    words = " ".join(f"w{place}" for place in range(len(tags)))
    turns = ({"role": "user", "content": f"Tag .\n\n{words}"}, {"role": "assistant", "content": answer})
    rows = [Example(turns, source="own", task="ner", row_id=str(i)) for i in range(940)]
    scored = score_predictions([Prediction(row, answer) for row in rows], provide_tasks(), intervals=False)
    assert bool(published_beside(rows, {"tuned": scored})) == stand
