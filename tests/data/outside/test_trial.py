"""What others wrote is tried in a process of its own, once, before it is used in this one."""

import ast
import json
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

import medtune
from medtune import ModelSpec
from medtune.data.outside import child, trial
from medtune.data.outside.tried import Tried, digest_of_text
from medtune.data.shipped_templates import SHIPPED, chosen_template
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.errors import SpecError, TrialFailedError

SOURCE = Path(medtune.__file__).parent
DEMO = SOURCE / "demo" / "base"
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HOSTILE_TEMPLATES = {
    "an endless loop": ENDLESS,
    "a huge string": "{{ 'a' * 10**10 }}",
    "a huge field": "{{ '%3000000000s' % 'a' }}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "brackets without end": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "a loop for one word": "{% if 'metformin' in messages[0].content %}" + ENDLESS + "{% endif %}",
    "a string for one length": "{% if messages|length == 17 %}{{ 'a' * 10**10 }}{% endif %}",
    "a loop over characters of characters": "{% for a in messages[0].content %}{% for b in messages[0].content %}"
    "{% for c in 'abcdefghij' %}{% endfor %}{% endfor %}{% endfor %}",
    "a loop for one token": "{% if bos_token == '<|odd|>' %}" + ENDLESS + "{% endif %}",
}


@pytest.fixture(autouse=True)
def little_time(monkeypatch, tmp_path):
    """Give a child less time than users give it, so that the suite is quick, and a cache that knows nothing."""
    monkeypatch.setattr(trial, "_SECONDS", 0.3)
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def started(monkeypatch):
    """Count the processes that are started."""
    found, run = [], subprocess.run

    def counted(*given, **options):
        found.append(given)
        return run(*given, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    return found


def small(**parts):
    vocab = {chr(c): c - 32 for c in range(32, 127)}
    found = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    for name, value in parts.items():
        setattr(found, name, value)
    return found


def saved(folder, tokenizer, change=lambda settings: settings):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(change(json.loads(tokenizer.to_str()))))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def with_added(settings):
    extra = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**settings, "added_tokens": [{"id": 95 + i, "content": f"<{i}>", **extra} for i in range(70_000)]}


@pytest.mark.parametrize("kind", HOSTILE_TEMPLATES)
def test_a_template_that_takes_too_much_is_refused_before_it_is_rendered_here(kind):
    began = time.process_time()
    with pytest.raises(
        TrialFailedError, match=r"^the chat template of 'there' is not used: it .*; set model\.chat_template"
    ) as caught:
        trial.try_template(HOSTILE_TEMPLATES[kind], "there", {"bos_token": "<|odd|>"})
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 0.5  # of this process; the child's is not its own


@pytest.mark.parametrize("name", [*TEMPLATES, *SHIPPED])
def test_templates_as_people_write_them_are_used(name):
    trial.try_template(TEMPLATES.get(name) or chosen_template(name), "there", {})


HOSTILE_TOKENIZERS = {
    "a pattern that backtracks": (
        small(pre_tokenizer=pre_tokenizers.Split(Regex("(x+x+)+y"), "isolated")),
        lambda s: s,
    ),
    "a normalizer that multiplies": (small(normalizer=normalizers.Replace("a", "b" * 3_000_000)), lambda s: s),
    "seventy thousand added tokens": (small(), with_added),
    "a special token of a page": (
        small(),
        lambda s: {**s, "added_tokens": [{**with_added(s)["added_tokens"][0], "content": "x" * 9999}]},
    ),
    "an id in the billions": (
        small(),
        lambda s: {**s, "model": {**s["model"], "vocab": {**s["model"]["vocab"], "\u00e9": 4_000_000_000}}},
    ),
    "nested a hundred thousand deep": (small(), lambda s: s),
    "padded to gigabytes": (
        small(),
        lambda s: {
            **s,
            "padding": {
                "strategy": {"Fixed": 10**9},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": " ",
            },
        },
    ),
}


REASONS = {
    "a pattern that backtracks": "(takes more than .*|ends the process that tries it .*) while encoding texts",
    "a normalizer that multiplies": "takes more than",
    "seventy thousand added tokens": "has 70,000 added tokens, more than 65,536",
    "a special token of a page": "has a special token of 9,999 characters",
    "an id in the billions": "has a token with the id 4,000,000,000",
    "nested a hundred thousand deep": "goes deeper than Python can follow",
    "padded to gigabytes": "takes more than 512 MiB",
}


@pytest.mark.parametrize("kind", HOSTILE_TOKENIZERS)
def test_a_tokenizer_that_takes_too_much_is_refused_before_it_is_loaded_here(tmp_path, kind):
    folder = saved(tmp_path / "base", *HOSTILE_TOKENIZERS[kind])
    if kind.startswith("nested"):
        (folder / "tokenizer.json").write_text("[" * 100_000)
    with pytest.raises(
        TrialFailedError, match=rf"^the tokenizer of '.*base' is not used: it {REASONS[kind]}"
    ) as caught:
        load_tokenizer(ModelSpec(path=str(folder)))
    assert caught.value.exit_code == 4


def test_files_that_are_no_files_or_too_large_are_refused_before_they_are_opened(tmp_path):
    folder = saved(tmp_path / "base", small())
    os.mkfifo(folder / "special_tokens_map.json")
    with pytest.raises(TrialFailedError, match=r"'special_tokens_map\.json' that is no regular file"):
        load_tokenizer(ModelSpec(path=str(folder)))
    (folder / "special_tokens_map.json").unlink()
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(TrialFailedError, match=r"has 1,073,741,824 bytes, more than"):
        load_tokenizer(ModelSpec(path=str(folder)))


def test_a_tokenizer_that_is_only_damaged_is_told_as_ever(tmp_path):
    folder = saved(tmp_path / "base", small())
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(SpecError, match="holds no tokenizer that can be loaded"):
        load_tokenizer(ModelSpec(path=str(folder)))


def test_a_template_in_the_settings_of_a_tokenizer_is_tried_and_so_is_one_of_the_spec(tmp_path):
    make_tokenizer(TEMPLATES["chatml"]).save_pretrained(tmp_path / "base")
    (tmp_path / "own.jinja").write_text(ENDLESS)
    with pytest.raises(TrialFailedError, match=r"template of '.*own\.jinja'"):
        load_tokenizer(ModelSpec(path=str(tmp_path / "base"), chat_template=str(tmp_path / "own.jinja")))
    (tmp_path / "base" / "chat_template.jinja").unlink()
    settings = json.loads((tmp_path / "base" / "tokenizer_config.json").read_text())
    for given in (
        ENDLESS,
        [{"name": "default", "template": TEMPLATES["chatml"]}, {"name": "tool_use", "template": ENDLESS}],
    ):
        (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": given}))
        with pytest.raises(TrialFailedError, match="computing above the control case while rendering"):
            load_tokenizer(ModelSpec(path=str(tmp_path / "base")))


def test_an_option_that_makes_a_template_endless_is_noticed(tmp_path):
    template = TEMPLATES["chatml"] + "{% if thorough %}" + ENDLESS + "{% endif %}"
    make_tokenizer(template).save_pretrained(tmp_path)
    load_tokenizer(ModelSpec(path=str(tmp_path)))
    with pytest.raises(TrialFailedError):
        load_tokenizer(ModelSpec(path=str(tmp_path), template_options={"thorough": True}))


def test_nothing_is_tried_twice_nor_what_medtune_ships_or_has_just_saved(tmp_path, started):
    make_tokenizer(TEMPLATES["chatml"]).save_pretrained(tmp_path / "base")
    tokenizer = load_tokenizer(ModelSpec(path=str(tmp_path / "base")))
    assert (
        len(started) == 2
    )  # for tokenizer and template together, and for the template with the tokens that it is given
    load_tokenizer(ModelSpec(path=str(tmp_path / "base")))
    (tmp_path / "adapter").mkdir()
    save_tokenizer(tokenizer, tmp_path / "adapter")
    load_tokenizer(ModelSpec(path=str(tmp_path / "adapter")))
    load_tokenizer(ModelSpec(path=str(DEMO)))
    load_tokenizer(ModelSpec(path=str(tmp_path / "base"), chat_template="chatml"))
    assert len(started) == 2
    (tmp_path / "base" / "chat_template.jinja").write_text(TEMPLATES["chatml"] + "{# another #}")
    load_tokenizer(ModelSpec(path=str(tmp_path / "base")))
    assert len(started) == 4


def test_what_was_tried_is_remembered_for_its_owner_alone(tmp_path):
    trial.try_template(TEMPLATES["chatml"], "there", {})
    folder = tmp_path / "cache" / "tried"
    kept = folder / digest_of_text(TEMPLATES["chatml"])
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, kept)] == [0o700, 0o600]
    assert kept.name in Tried()
    folder.chmod(0o770)  # whoever is in the group could have put the file there
    assert kept.name not in Tried()
    folder.chmod(0o700)
    kept.unlink()
    kept.symlink_to(folder / "elsewhere")
    (folder / "elsewhere").touch()
    assert kept.name not in Tried()


def test_what_was_refused_is_not_remembered():
    for _time in range(2):
        with pytest.raises(TrialFailedError):
            trial.try_template(HOSTILE_TEMPLATES["a huge string"], "there", {})


def test_patterns_of_adapters_are_matched_within_bounds():
    names = [f"model.layers.{i}.self_attn.q_proj" for i in range(200)]
    trial.try_patterns(
        [r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|k_proj)).*?", "("], names, "adapter", "there"
    )
    with pytest.raises(TrialFailedError, match=r"adapter of 'there' is not used: it takes more than .* while matching"):
        trial.try_patterns([r"([a-z_.0-9]+)+\d"], names, "adapter", "there")


def test_templates_are_tried_in_the_environment_in_which_they_are_rendered():
    from transformers.utils.chat_template_utils import _compile_jinja_template

    theirs, ours = _compile_jinja_template("").environment, child.environment()
    for part in ("globals", "filters", "tests"):
        assert getattr(ours, part).keys() >= getattr(theirs, part).keys()
    for setting in (
        "trim_blocks",
        "lstrip_blocks",
        "keep_trailing_newline",
        "autoescape",
        "intercepted_binops",
        "sandboxed",
    ):
        assert getattr(ours, setting) == getattr(theirs, setting)
    text = "{% generation %}{% for m in messages %}{{ m | tojson }}{% break %}{% endfor %}{% endgeneration %}\n"
    given = {"messages": [{"role": "user", "content": "Größe"}]}
    assert ours.from_string(text).render(given) == theirs.from_string(text).render(given)


def test_a_tokenizer_is_loaded_in_one_place_only():
    found = {
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if "Tokenizer" in file.read_text()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and re.search(r"Tokenizer\w*\.from_(pretrained|file)", ast.unparse(node.func))
    }
    assert found == {
        "data/outside/child.py",
        "data/tokenizer.py",
        "testing/conformance/formatters.py",  # the kit's own, made by the kit
        "workflow/exporting/readers/by_transformers.py",  # in a process that loads what was just exported
    }


def test_a_template_is_tried_with_the_tokens_that_it_is_given_and_anew_with_others(started):
    trial.try_template(HOSTILE_TEMPLATES["a loop for one token"], "there", {"bos_token": "<s>"})
    trial.try_template(HOSTILE_TEMPLATES["a loop for one token"], "there", {"bos_token": "<s>"})
    assert len(started) == 1
    with pytest.raises(TrialFailedError):
        trial.try_template(HOSTILE_TEMPLATES["a loop for one token"], "there", {"bos_token": "<|odd|>"})
    with pytest.raises(TrialFailedError, match="a special token of 9,999 characters"):
        trial.try_template("{{ bos_token }}", "there", {"bos_token": "x" * 9999})


def test_tokens_that_settings_add_are_counted_before_anything_is_loaded(tmp_path, started):
    folder = saved(tmp_path / "base", small())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"extra_special_tokens": [f"<{i}>" for i in range(70_000)]})
    )
    with pytest.raises(TrialFailedError, match=r"adds 70,000 tokens in 'tokenizer_config\.json', more than 65,536"):
        trial.try_tokenizer(folder)
    assert started == []
