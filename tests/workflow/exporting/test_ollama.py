"""A folder for Ollama asks the tuned model what training asked, in Ollama's own language, or is not written."""

import json
from types import SimpleNamespace

import jinja2
import pytest
from tiny_families import CHATML, GEMMA, STARLING

from medtune.errors import SpecError
from medtune.export.llama_cpp import ollama, ollama_template
from medtune.export.llama_cpp.ollama_language import GoError, read_modelfile, rendered
from medtune.export.llama_cpp.ollama_template import rendering_of
from medtune.workflow.exporting.refusal import RefusedExportError

DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" + CHATML
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (s if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
SYSTEM_LAST = MISTRAL.replace("s if loop.first", "s if loop.last")
LOUD = CHATML.replace("m['content']", "m['content']|upper")
COUNTED = CHATML.replace("'<|im_end|>", "loop.index|string + '<|im_end|>")
NO_SYSTEM = GEMMA.replace(
    "{% for m", "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}{% for m", 1
)


class Templated:
    """What renders a chat template, as a tokenizer does."""

    def __init__(self, template):
        def refuse(why):
            raise ValueError(why)

        engine = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - prompts are no HTML
        self.template = engine.from_string(template)
        self.template.globals["raise_exception"] = refuse

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        return self.template.render(messages=messages, add_generation_prompt=add_generation_prompt, bos_token="<s>")


def turns(*roles):
    return [{"role": role, "content": f'turn {n} says "{{{{ x }}}}"\n\nand on'} for n, role in enumerate(roles)]


CONVERSATIONS = [
    turns("user"), turns("system", "user"), turns("user", "assistant", "user"),
    turns("system", "user", "assistant", "user", "assistant", "user"),
]  # fmt: skip


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, GEMMA, STARLING, MISTRAL, NO_SYSTEM])
def test_a_chat_template_in_ollamas_language_renders_the_same_text(template):
    render = rendering_of(Templated(template), folds=True)
    written = ollama_template.ollama_template(render)
    for conversation in CONVERSATIONS:
        assert render(conversation)
        assert rendered(written, conversation) == render(conversation)


@pytest.mark.parametrize(
    ("template", "turns"), [(LOUD, "user"), (COUNTED, "user, assistant, user"), (SYSTEM_LAST, "system")]
)
def test_what_cannot_be_said_in_ollamas_language_is_refused_by_name(template, turns):
    with pytest.raises(SpecError, match=f"cannot be written in Ollama's language: for the turns {turns}"):
        ollama_template.ollama_template(rendering_of(Templated(template), folds=False))


def test_ollama_fails_for_turns_that_the_chat_template_refuses():
    written = ollama_template.ollama_template(rendering_of(Templated(NO_SYSTEM), folds=False))
    with pytest.raises(GoError, match="out of range"):
        rendered(written, turns("system", "user"))
    with pytest.raises(GoError, match="out of range"):
        rendered(written, turns("tool"))


def test_the_reader_of_gos_language_knows_it_and_nothing_else():
    chat = '{{- if .System }}<S>{{ .System }}</S>\n{{- end }} {{ range $.Messages -}}\n {{ if or (eq .Role "user" "tool") (not .Content) }}U{{ else if eq .Role "system" }}{{ else }}A{{ end }}{{ .Content }}{{- end }}'
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert rendered(chat, said) == "<S>s</S> sUa\n\nb"
    for wrong in (
        "{{ .Nothing }}",
        "{{ printf .Content }}",
        "{{ if .System }}",
        "{{ $x = 1 }}",
        "{{ template }}",
        "{{",
        "{{ .System | len }}",
    ):
        with pytest.raises(GoError):
            rendered(wrong, said)
    for wrong in ("FORM x\n", "MESSAGE user hi\n", 'TEMPLATE """open'):
        with pytest.raises(GoError):
            read_modelfile(wrong)


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_a_folder_for_ollama_is_proved_by_llama_cpp(trained, tmp_path, form):
    pytest.importorskip("xllamacpp")
    exported = trained().export("ollama", tmp_path / "out", form=form, num_ctx=300)
    proof = exported.facts["proof"]
    assert exported.state == "proved"
    assert proof["prompts_equal"] == proof["conversations"] > 0
    assert proof["equal"] + proof["near_ties"] == proof["prompts"]
    found = read_modelfile((tmp_path / "out" / "Modelfile").read_text())
    assert (tmp_path / "out" / found.base).is_file()
    assert bool(found.adapter) == (form == "adapter")
    assert found.parameters["num_ctx"] == ["300"]
    assert found.parameters["num_predict"] == ["4"]
    assert found.parameters["temperature"] == ["0"]
    assert found.parameters["stop"]
    assert "Ollama" in json.loads((tmp_path / "out" / "export.json").read_text())["facts"]["contents"]


@pytest.mark.parametrize(("old", "new"), [("model-F16.gguf", "missing.gguf"), ("{{ .Content }}", "{{ .Content }}.")])
def test_a_broken_modelfile_is_put_aside(trained, tmp_path, monkeypatch, old, new):
    pytest.importorskip("xllamacpp")
    write = ollama._modelfile

    def broken(*arguments):
        text, told = write(*arguments)
        return text.replace(old, new), told

    monkeypatch.setattr(ollama, "_modelfile", broken)
    with pytest.raises(RefusedExportError):
        trained().export("ollama", tmp_path / "out")
    assert (tmp_path / "out-refused").is_dir()


def test_options_that_ollama_has_no_use_for_are_refused(trained, tmp_path):
    for option in ({"tokens_only": True}, {"num_ctx": "many"}, {"form": "both"}, {"keep_base": True}, {"kwant": "F16"}):
        with pytest.raises(SpecError):
            trained().export("ollama", tmp_path / "out", **option)


def test_a_system_turn_goes_into_the_modelfile(trained):
    run = trained()
    data = run.spec.data.model_copy_with(system='Say "yes" or no.')
    source = SimpleNamespace(adapter_dir=run.adapter_dir, spec=run.spec.model_copy_with(data=data), stop_ids=(1,))
    text, _ = ollama._modelfile(source, {"num_ctx": 1, "num_predict": 1}, "model.gguf", "")
    assert read_modelfile(text).system == 'Say "yes" or no.'
    unwritable = source.spec.data.model_copy_with(system='Say """yes"""')
    source.spec = source.spec.model_copy_with(data=unwritable)
    with pytest.raises(SpecError, match=r"data\.system"):
        ollama._modelfile(source, {"num_ctx": 1, "num_predict": 1}, "model.gguf", "")
