"""The command that measures minutes to the score: what it compares, and a run of it with every engine that is here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def minutes(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import minutes

    return minutes


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import shapes

    yield shapes
    shapes.choose("starling")


def row(engine, minutes, interval, **more):
    return {"engine": engine, "minutes": minutes, "scores": {"ner": {"value": 0.8, "interval": interval}}, **more}


def test_a_peer_is_so_many_times_as_long_and_its_score_meets_or_not(minutes):
    rows = [row("medtune", 2.0, [0.7, 0.8]), row("trl", 8.0, [0.75, 0.85]), row("unsloth", 5.0, [0.1, 0.2])]
    rows.append({"engine": "trl", "failed": "out of memory"})
    minutes.judge(rows)
    assert [each.get("times_medtune") for each in rows] == [None, 4.0, 2.5, None]
    assert [each.get("scores_agree") for each in rows] == [None, {"ner": True}, {"ner": False}, None]
    assert minutes.meet(None, [0, 1]) is None


def test_a_failed_run_of_medtune_is_no_measure(minutes):
    rows = [{"engine": "medtune", "failed": "1: no"}, row("trl", 8.0, [0.75, 0.85])]
    minutes.judge(rows)
    assert "times_medtune" not in rows[1]


def test_shapes_have_the_parameters_that_their_makers_state(shapes):
    from medtune.planning.memory import Shape

    billions = {name: round(Shape.of(shapes.config_of(name)).parameters / 1e9, 2) for name in shapes.SHAPES}
    assert billions == {
        "starling": 7.24,
        "llama-3-8b": 8.03,
        "qwen2.5-7b": 7.62,
        "llama-3.2-1b": 1.24,
        "smollm2-135m": 0.13,
        "gemma": 2.51,
    }


def test_a_shape_comes_from_a_file_and_an_unknown_one_is_refused(shapes, tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"model_type": "llama", "hidden_size": 32}))
    shapes.choose(str(file))
    assert shapes.config_of(shapes.chosen()) == {"model_type": "llama", "hidden_size": 32}
    with pytest.raises(SystemExit, match="llama-3-8b"):
        shapes.choose("llama-4")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft
@pytest.mark.parametrize("name", ["qwen2.5-7b", "gemma"])
def test_a_small_model_of_a_shape_is_of_its_kind_and_keeps_its_biases_in_four_bits(shapes, name):
    import starling_shape

    shapes.choose(name)
    model = starling_shape.make_model("nf4", tiny=True)
    base = model.get_base_model()
    assert base.config.model_type == {"qwen2.5-7b": "qwen2", "gemma": "gemma"}[name]
    assert base.config.hidden_size == 64
    stored = base.model.layers[0].self_attn.q_proj.base_layer
    assert type(stored).__name__ == "Linear4bit"
    assert (stored.bias is not None) == (name == "qwen2.5-7b")  # else the biases that the others compute with are lost
    assert starling_shape.useful_work(model, [8, 8], 4) > 0


@pytest.mark.proof
def test_every_engine_that_is_here_answers_the_same_rows(tmp_path):
    out = tmp_path / "minutes.json"
    command = [sys.executable, str(FOLDER / "minutes.py"), str(out), "--tiny", "--engines", "medtune,trl"]
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads(out.read_text())["rows"]
    done = {each["engine"]: each for each in rows if "failed" not in each}
    assert set(done) == {"medtune", "trl"}, rows
    assert {task: score["rows"] for task, score in done["trl"]["scores"].items()} == {
        task: score["rows"] for task, score in done["medtune"]["scores"].items()
    }
    assert done["trl"]["times_medtune"] > 0
    assert set(done["medtune"]["promised"]) == {"load", "prepare", "train", "score", "total"}
