"""Chat templates and tokenizers that would run code, or take for ever."""

import json
import os

import bombs
from edits import all_of, as_json, edited, linked, put
from laboratory import Case

DEEP = 100_000
TURNS = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
REFUSED = "chat template|is not used"
UNLOADED = "holds no tokenizer that can be loaded"


def chosen(text, code=4, says=REFUSED, **more):
    """Return a case that previews rows by a template file; PAYLOAD stands for the payload."""

    def build(scene):
        content = text(scene) if callable(text) else text.replace("PAYLOAD", scene.payload)
        file = content if isinstance(content, os.PathLike) else scene.write("own.jinja", content)
        return [scene.spec(model={"chat_template": str(file)}), "-n", "1"]

    return Case("preview", build, code, says, **more)


def of_base(change, code=4, says=REFUSED, **more):
    """Return a case that previews rows with a changed base."""

    def build(scene):
        folder = scene.copy("base")
        change(folder, scene)
        return [scene.spec(model={"path": str(folder)}), "-n", "1"]

    return Case("preview", build, code, says, **more)


def without_classes(_scene, outcome):
    """The sandbox gives nothing for such an attribute, so nothing of it is in the rows."""
    assert not any(word in outcome.stdout for word in ("<class", "__main__", "builtin"))


def base_template(text):
    return put("chat_template.jinja", text)


CODE = {
    "class of a text": chosen(TURNS + "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "globals of a function": chosen(TURNS + "{{ cycler.__init__.__globals__.os.popen('PAYLOAD').read() }}"),
    "globals of a namespace": chosen(TURNS + "{{ namespace.__init__.__globals__['os'].system('PAYLOAD') }}"),
    "globals of a joiner": chosen(TURNS + "{{ joiner.__init__.__globals__.os.system('PAYLOAD') }}"),
    "globals of a macro": chosen(TURNS + "{% macro m() %}{% endmacro %}{{ m.__globals__ }}", 0, "rows", then=without_classes),
    "globals of raise_exception": chosen(TURNS + "{{ raise_exception.__globals__['os'].system('PAYLOAD') }}"),
    "globals of strftime_now": chosen(TURNS + "{{ strftime_now.__globals__['__builtins__']['eval']('PAYLOAD') }}"),
    "attribute by a filter": chosen(TURNS + "{{ ''|attr('__class__')|attr('__mro__') }}", 0, "rows", then=without_classes),
    "attribute by format": chosen(TURNS + "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}"),
    "attribute by format_map": chosen(TURNS + "{{ '{a.__class__}'.format_map({'a': messages}) }}", 0, "rows", then=without_classes),
    "attribute by map": chosen(TURNS + "{{ [messages]|map(attribute='__class__.__mro__')|list }}"),
    "module of the environment": chosen(TURNS + "{{ self._TemplateReference__context.environment }}"),
    "include": chosen(TURNS + "{% include '/etc/passwd' %}"),
    "import": chosen(TURNS + "{% import '/etc/passwd' as p %}"),
    "extends": chosen("{% extends '/etc/passwd' %}" + TURNS),
    "statement do": chosen(TURNS + "{% do messages.append({'role': 'x'}) %}"),
    "change of the messages": chosen("{% set _ = messages.append({'role': 'x', 'content': 'y'}) %}" + TURNS),
    "dunder import": chosen(TURNS + "{{ __import__('os').system('PAYLOAD') }}"),
    "of a base: globals": of_base(base_template(lambda s: TURNS + f"{{{{ cycler.__init__.__globals__.os.system('{s.payload}') }}}}")),
    "of a base: include": of_base(base_template(TURNS + "{% include '/etc/passwd' %}")),
    "of a tokenizer's settings": of_base(
        all_of(lambda f, _s: (f / "chat_template.jinja").unlink(missing_ok=True),
               as_json("tokenizer_config.json", chat_template=TURNS + "{{ cycler.__init__.__globals__ }}"))
    ),
    "named ones": of_base(put("additional_chat_templates/tool_use.jinja", "{{ cycler.__init__.__globals__ }}"), 0, "rows"),
    "without anybody's words": chosen("{{ 'same' }}{{ messages|length }}"),
    "that swaps roles": chosen("{% for m in messages|reverse %}{{ m['role'] + m['content'] + '<end>' }}{% endfor %}", 4, ""),
}  # fmt: skip
ENDLESS = {
    "a loop of 10^12": chosen(TURNS + "{% for i in range(10**12) %}{% endfor %}"),
    "loops in loops": chosen(TURNS + "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"),
    "a text of 10^10": chosen(TURNS + "{{ 'a' * 10**10 }}"),
    "a list of 10^10": chosen(TURNS + "{{ [1] * 10**10 }}"),
    "a text that doubles": chosen(TURNS + "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
    "a number that grows": chosen(TURNS + "{{ 9**9**9 }}", 4, ""),
    "a width of 10^10": chosen(TURNS + "{{ '%9999999999d' % 1 }}"),
    "a width by format": chosen(TURNS + "{{ '{:>9999999999}'.format(1) }}"),
    "a center of 10^10": chosen(TURNS + "{{ 'a'|center(9999999999) }}"),
    "an indent of 10^9": chosen(TURNS + "{{ 'a\\nb'|indent(999999999) }}"),
    "a macro that calls itself": chosen("{% macro m() %}{{ m() }}{% endmacro %}" + TURNS + "{{ m() }}"),
    "a macro that calls itself twice": chosen("{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}" + TURNS + "{{ m(60) }}"),
    "a loop that calls itself": chosen(TURNS + "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
    "a join of loops": chosen(TURNS + "{{ range(99999)|map('string')|join('x' * 99999) }}"),
    "parentheses nested deeply": chosen(TURNS + "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", 4, REFUSED),
    "blocks nested deeply": chosen("{% if true %}" * 2_000 + TURNS + "{% endif %}" * 2_000, 4, ""),
    "a megabyte": chosen(TURNS + "x" * (2 << 20), 2, "longer than a template"),
    "lists in a regex of words": chosen(TURNS + "{{ 'a' * 50000 ~ '!' | wordwrap(3) | length }}", 4, ""),
    "a FIFO": chosen(lambda s: (os.mkfifo(s.folder / "own.jinja"), s.folder / "own.jinja")[1], 2, "chat template"),
    "a device": chosen(lambda s: (s.folder / "own.jinja").symlink_to("/dev/zero") or s.folder / "own.jinja", 2, "chat template"),
    "bytes that are no UTF-8": chosen(lambda s: s.write("own.jinja", b"\xff\xfe{{ messages }}"), 2, "UTF-8"),
    "of a base: a loop of 10^12": of_base(base_template(TURNS + "{% for i in range(10**12) %}{% endfor %}")),
    "of a base: a text of 10^10": of_base(base_template(TURNS + "{{ 'a' * 10**10 }}")),
    "of a base: a device": of_base(linked("chat_template.jinja", "/dev/zero")),
    "of a base: a FIFO": of_base(lambda f, _s: ((f / "chat_template.jinja").unlink(missing_ok=True), os.mkfifo(f / "chat_template.jinja"))),
}  # fmt: skip


def tokenizer(edit, code=4, says=REFUSED, **more):
    return of_base(edited("tokenizer.json", edit), code, says, **more)


def split(pattern):
    return lambda t: t.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, t["pre_tokenizer"],
        ]}
    )  # fmt: skip


def nested(key, leaf, inner, depth):
    """Return what nests a part of a tokenizer in itself."""

    def change(folder, _scene):
        file = folder / "tokenizer.json"
        values = json.loads(file.read_text())
        values[key] = "HERE"
        text = f'{{"type": "Sequence", "{inner}": [' * depth + json.dumps(leaf) + "]}" * depth
        file.write_text(json.dumps(values).replace('"HERE"', text))

    return change


def added(number, **more):
    return {
        "id": number,
        "content": f"<a{number}>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    } | more


TOKENIZERS = {
    "a split that never ends": tokenizer(split("(a|a|b|.)*(a|.)*(b|.)*c$")),
    "a split that looks back": tokenizer(split("(?=(a+))\\1*b|(.*)*x")),
    "a split of a broken pattern": tokenizer(split("((("), 2, UNLOADED),
    "a replacement that grows": tokenizer(lambda t: t.update(normalizer={"type": "Replace", "pattern": {"Regex": ""}, "content": "x" * (1 << 22)})),
    "replacements that grow each other": tokenizer(
        lambda t: t.update(normalizer={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 64}] * 12})
    ),
    "a prefix of megabytes": tokenizer(lambda t: t.update(normalizer={"type": "Prepend", "prepend": "x" * (8 << 20)})),
    "normalizers nested deeply": of_base(nested("normalizer", {"type": "NFC"}, "normalizers", DEEP)),
    "splitters nested deeply": of_base(nested("pre_tokenizer", {"type": "Whitespace"}, "pretokenizers", DEEP)),
    "nested deeply": of_base(put("tokenizer.json", "[" * DEEP)),
    "a vocabulary of millions": of_base(lambda f, _s: large_vocabulary(f, 3_000_000)),
    "added tokens of half a million": tokenizer(lambda t: t.update(added_tokens=[added(n) for n in range(300, 500_300)])),
    "an id of 2^32": tokenizer(lambda t: t["model"]["vocab"].update({"zz": 1 << 32}), 2, UNLOADED),
    "an id below zero": tokenizer(lambda t: t["model"]["vocab"].update({"zz": -1}), 2, UNLOADED),
    "an id beyond the base": tokenizer(lambda t: t["model"]["vocab"].update({"zz": 10**6}), 4, ""),
    "an added id of 2^31": tokenizer(lambda t: t.update(added_tokens=[added(2**31)]), 4, ""),
    "merges of unknown tokens": tokenizer(lambda t: t["model"].update(merges=[["qq", "zz"]]), 2, UNLOADED),
    "merges of millions": tokenizer(lambda t: t["model"].update(merges=[["a", "b"]] * 3_000_000)),
    "an added token of nothing": tokenizer(lambda t: t.update(added_tokens=[added(300, content="")]), 0, "rows"),
    "an added token of megabytes": tokenizer(lambda t: t.update(added_tokens=[added(300, content="x" * (8 << 20))]), 4, ""),
    "a model by a module": tokenizer(lambda t: t["model"].update(type="os.system"), 2, UNLOADED),
    "a pickle": of_base(put("tokenizer.json", bombs.pickled), 2, UNLOADED),
    "a half gigabyte": of_base(lambda f, _s: os.truncate(f / "tokenizer.json", 512 << 20)),
    "a FIFO": of_base(lambda f, _s: ((f / "tokenizer.json").unlink(), os.mkfifo(f / "tokenizer.json"))),
    "a device": of_base(linked("tokenizer.json", "/dev/zero")),
    "settings: auto_map": of_base(
        all_of(as_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]}), put("own.py", lambda s: s.code)), 0, "rows"
    ),
    "settings: auto_map and an unknown class": of_base(
        all_of(as_json("tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", None]}), put("own.py", lambda s: s.code)), 0, ""
    ),
    "settings: a class of a module": of_base(as_json("tokenizer_config.json", tokenizer_class="os.system"), 0, ""),
    "settings: a slow class of a pickle": of_base(
        all_of(lambda f, _s: (f / "tokenizer.json").unlink(), as_json("tokenizer_config.json", tokenizer_class="TransfoXLTokenizer"), put("vocab.pkl", bombs.pickled)), 2, ""
    ),
    "settings: nested deeply": of_base(put("tokenizer_config.json", "[" * DEEP), 4, ""),
    "settings: a length of 10^400": of_base(edited("tokenizer_config.json", lambda c: c.update(model_max_length=10**400)), 4, ""),
    "settings: a dunder": of_base(as_json("tokenizer_config.json", __class__="x", __init__={"a": 1}), 2, UNLOADED),
    "settings: tokens of another shape": of_base(as_json("tokenizer_config.json", eos_token={"a": [1]}, pad_token=7), 2, UNLOADED),
    "settings: a fast file elsewhere": of_base(as_json("tokenizer_config.json", fast_tokenizer_files=["../../../etc/passwd"], tokenizer_file="/etc/passwd"), 0, ""),
    "settings: a remote name": of_base(as_json("tokenizer_config.json", name_or_path="someone/evil", _commit_hash="x"), 0, "rows"),
    "special tokens nested deeply": of_base(put("special_tokens_map.json", "[" * DEEP), 2, UNLOADED),
    "added tokens of another shape": of_base(put("added_tokens.json", '{"x": "os.system"}'), 2, UNLOADED),
    "a sentencepiece model of garbage": of_base(
        all_of(lambda f, _s: (f / "tokenizer.json").unlink(), put("tokenizer.model", bombs.pickled)), 2, UNLOADED
    ),
    "a tekken file of garbage": of_base(all_of(lambda f, _s: (f / "tokenizer.json").unlink(), put("tekken.json", '{"vocab": [')), 2, UNLOADED),
}  # fmt: skip


def large_vocabulary(folder, count):
    file = folder / "tokenizer.json"
    values = json.loads(file.read_text())
    values["model"]["vocab"].update({f"w{n}": n for n in range(300, count)})
    file.write_text(json.dumps(values))


CASES = {"templates: code": CODE, "templates: without end": ENDLESS, "tokenizers": TOKENIZERS}
