"""Specs that would run code, grow, wait or lie."""

import os

from laboratory import Case

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
DEEP = 100_000


def file(name, content):
    """Return what writes a spec of this text, in which PAYLOAD is the payload."""

    def build(scene):
        text = content(scene) if callable(content) else content
        return [scene.write(name, text)]

    return build


def at(make):
    """Return what lays out something else than a file, by its path."""

    def build(scene):
        path = scene.folder / "spec.toml"
        return [make(scene, path) or path]

    return build


def sparse(_scene, path):
    with path.open("wb") as made:
        made.truncate(1 << 30)


def loop(_scene, path):
    path.symlink_to(path.name)


def change(**parts):
    return lambda scene: [scene.spec(**parts)]


def sets(*overrides):
    return lambda scene: [scene.spec(), *(part for text in overrides for part in ("--set", text))]


def check(build, code=2, says="well-formed|nested deeper|NUL", **more):
    return Case("check", build, code, says, **more)


YAML_CODE = {
    "os.system": "!!python/object/apply:os.system ['{}']",
    "subprocess": "!!python/object/apply:subprocess.check_output [['sh', '-c', '{}']]",
    "object": "!!python/object/new:os.system ['{}']",
    "module": "!!python/module:os",
    "name": "!!python/name:os.system",
    "tuple": "!!python/tuple [1, 2]",
    "own tag": "!own {{a: 1}}",
}
TAGS = {
    f"YAML tag {name}": check(file("spec.yaml", lambda s, t=text: f"seed: {t.format(s.payload)}\n"))
    for name, text in YAML_CODE.items()
}
FORMS = {
    "YAML aliases": check(file("spec.yaml", BOMB), 2, "well-formed|unknown key|alias"),
    "YAML alias of itself": check(file("spec.yaml", "model: &a\n  options: *a\n"), 2, ""),
    "YAML merge of itself": check(file("spec.yaml", "model: &a\n  <<: *a\n"), 2, ""),
    "YAML nested deeply": check(file("spec.yaml", "a: " + "[" * 5_000 + "]" * 5_000)),
    "YAML maps nested deeply": check(file("spec.yaml", "{a: " * 5_000 + "1" + "}" * 5_000)),
    "YAML key twice": check(file("spec.yaml", "seed: 1\nseed: 2\n"), 2, "twice|duplicate|once"),
    "YAML table twice": check(file("spec.yaml", "lora: {r: 4}\nlora: {r: 8}\n"), 2, "twice|duplicate|once"),
    "YAML several documents": check(file("spec.yaml", "seed: 1\n---\nseed: 2\n")),
    "YAML of NUL": check(file("spec.yaml", "seed: 1\n\0")),
    "YAML key of a list": check(file("spec.yaml", "? [a, b]\n: 1\n"), 2, ""),
    "YAML number of many digits": check(file("spec.yaml", "seed: " + "9" * 20_000 + "\n"), 2, ""),
    "YAML sexagesimal": check(file("spec.yaml", "seed: 1:2:3:4:5:6:7:8:9:10\n"), 2, "seed"),
    "YAML infinity": check(file("spec.yaml", "train: {learning_rate: .inf}\n"), 2, "learning_rate|finite"),
    "YAML NaN": check(file("spec.yaml", "train: {learning_rate: .nan}\n"), 2, "learning_rate|finite"),
    "JSON nested deeply": check(file("spec.json", '{"a":' * DEEP)),
    "JSON lists nested deeply": check(file("spec.json", "[" * DEEP + "]" * DEEP)),
    "JSON key twice": check(file("spec.json", '{"seed": 1, "seed": 2}'), 2, "twice|duplicate|once"),
    "JSON NaN": check(file("spec.json", '{"train": {"learning_rate": NaN}}'), 2, "learning_rate|finite|NaN"),
    "JSON infinity": check(
        file("spec.json", '{"train": {"learning_rate": -Infinity}}'), 2, "learning_rate|finite|Infinity"
    ),
    "JSON number beyond floats": check(
        file("spec.json", '{"train": {"learning_rate": 1e999}}'), 2, "learning_rate|finite"
    ),
    "JSON number of many digits": check(file("spec.json", '{"seed": ' + "9" * 20_000 + "}"), 2, ""),
    "JSON lone surrogate": check(file("spec.json", '{"output_dir": "\\ud800"}'), 2, ""),
    "JSON of NUL in a path": check(file("spec.json", '{"model": {"path": "/tmp\\u0000x"}}'), 2, ""),
    "JSON list": check(file("spec.json", "[1, 2]"), 2, "tables"),
    "JSON text": check(file("spec.json", '"x"'), 2, "tables"),
    "JSON with more behind": check(file("spec.json", "{} {}")),
    "TOML nested deeply": check(file("spec.toml", "a = " + "[" * 20_000 + "]" * 20_000)),
    "TOML keys nested deeply": check(file("spec.toml", ".".join(["a"] * 20_000) + " = 1"), 2, ""),
    "TOML infinity": check(file("spec.toml", "[train]\nlearning_rate = inf\n"), 2, "learning_rate|finite"),
    "TOML NaN": check(file("spec.toml", "[train]\nlearning_rate = nan\n"), 2, "learning_rate|finite"),
    "TOML of NUL": check(file("spec.toml", "seed = 1\0")),
    "TOML number of many digits": check(file("spec.toml", "seed = " + "9" * 20_000), 2, ""),
    "pickle called TOML": check(file("spec.toml", b"\x80\x04cos\nsystem\n(S'touch x'\ntR."), 2, "UTF-8"),
    "program": check(file("spec.py", "import os\n"), 2, "must end in"),
    "UTF-16": check(file("spec.toml", "seed = 1".encode("utf-16")), 2, "UTF-8"),
}
PLACES = {
    "FIFO": check(at(lambda s, p: os.mkfifo(p)), 2, "no regular file"),
    "folder": check(at(lambda s, p: p.mkdir()), 6, "cannot read spec"),
    "/dev/zero": check(
        lambda s: [(s.folder / "spec.toml").symlink_to("/dev/zero") or s.folder / "spec.toml"], 2, "no regular file"
    ),
    "link to itself": check(at(loop), 6, "cannot read spec"),
    "link to nothing": check(at(lambda s, p: p.symlink_to("nowhere")), 6, "cannot read spec"),
    "sparse gigabyte": check(at(sparse), 2, "larger than"),
    "name of NUL": check(lambda s: ["spec\0.toml"], 2, "null byte"),
    "name of 5000 letters": check(lambda s: ["x" * 5000 + ".toml"], 6, "cannot read spec"),
    "name like an option": check(lambda s: ["-rf.toml"], 2, "No such option"),
    "name of a command": check(lambda s: [f"$({s.payload}).toml"], 6, "cannot read spec"),
}
VALUES = {
    "key of a confusable letter": check(change(mоdel={"path": "x"}), 2, "unknown key"),
    "key of markup": check(change(**{"[red]x[/red]": 1}), 2, r"unknown key '\[red\]x\[/red\]'"),
    "key of escapes": check(change(**{"\x1b[31mx": 1}), 2, "unknown key"),
    "key like a dunder": check(change(__class__={"__init__": 1}), 2, "unknown key"),
    "value of an environment variable": check(change(model={"path": "$HOME/base"}), 2, r"'\$HOME/base' is no folder"),
    "value of a template": check(change(model={"path": "{{ 7*7 }}"}), 2, r"'\{\{ 7\*7 \}\}' is no folder"),
    "rank of 10^30": Case("plan", change(lora={"r": 10**30}), 0, '"fits": false'),
    "rank below zero": check(change(lora={"r": -1}), 2, "lora.r"),
    "targets as a pattern": Case("plan", change(lora={"target_modules": "(a+)+$"}), 2, "target"),
    "code by an option": check(change(model={"trust_remote_code": True}), 2, "unknown key 'model.trust_remote_code'"),
    "attention from a repository": check(
        change(model={"attn_implementation": "someone/kernel"}), 2, "attn_implementation"
    ),
    "plugin of a path": check(change(plugins=["../../evil"]), 2, "plugins"),
    "plugin of a URL": check(change(plugins=["evil @ http://x/evil.whl"]), 2, "plugins"),
    "plugin that is not there": check(change(plugins=["evil==1.0"]), 2, "'evil==1.0' is named and cannot be used"),
    "backend by an import": check(change(train={"backend": "os:system"}), 2, "no trainer named 'os:system'"),
    "formatter by an import": check(change(data={"formatter": "os.system"}), 2, "no formatter named 'os.system'"),
    "override of code": check(sets("seed=__import__('os').system('id')"), 2, "seed"),
    "override of dunders": check(sets("model.__class__.__init__=1"), 2, "unknown key"),
    "override without a key": check(sets("=1"), 2, "must look like"),
    "override nested deeply": check(sets(".".join(["a"] * 3000) + "=1"), 2, ""),
    "chat template of a device": check(change(model={"chat_template": "/dev/zero"}), 2, ""),
    "schema of a URL": check(change(data={"source": "file:///etc/passwd"}), 3, "no data file at", locked=(2, "locked")),
}
CASES = {"specs: code": TAGS, "specs: form": FORMS, "specs: place": PLACES, "specs: value": VALUES}
