"""The same commands on harmless input: what hostile cases are measured against."""

from laboratory import Case
from stock import lines


def spec(scene):
    return [scene.spec()]


def exported(scene):
    return [scene.copy("run"), "--to", "merged", "--no-proof"]


def adopted(scene):
    limits = ("quant.scheme=none", "eval.rows_per_source=2", "eval.max_new_tokens=4")
    sets = [part for limit in limits for part in ("--set", limit)]
    adapter = scene.copy("run") / "adapter"
    return [adapter, "--base", scene.stock / "base", "--data", scene.rows, "--out", scene.folder / "out", *sets]


def annotated(scene):
    note = {"id": 1, "text": "Fever helps.", "label": [[0, 5, "D"]]}
    return [scene.write("notes.jsonl", lines([note] * 3)), "--to", scene.folder / "to.jsonl"]


CONTROLS = {
    "check": Case("check", spec, 0, '"ok": true'),
    "plan": Case("plan", spec, 0, '"fits": true'),
    "preview": Case("preview", lambda s: [s.spec(), "-n", "1"], 0, '"supervised"'),
    "train": Case("train", spec, 0, '"state": "finished"'),
    "score": Case("score", lambda s: [s.stock / "predictions.jsonl"], 0, '"accuracy": 1.0'),
    "import": Case("import", annotated, 0, '"labelled": 3'),
    "verify": Case("verify", lambda s: [s.copy("run")], 0, '"whole": true'),
    "report": Case("report", lambda s: [s.copy("run")], 0, "report.html"),
    "compare": Case("compare", lambda s: [s.copy("run"), s.copy("run", "other")], 0, '"runs"'),
    "chat": Case("chat", lambda s: [s.copy("run"), "-m", "Zyxwv?"], 0, '"answer"'),
    "adopt": Case("adopt", adopted, 0, '"state": "finished"'),
    "export": Case("export", exported, 0, '"state": "unproved"'),
    "plugins new": Case(
        "plugins new", lambda s: ["medtune-letters", "--kind", "formatter", "--to", s.folder], 0, '"folder"'
    ),
}
CONTROLS["serve"] = CONTROLS["chat"]  # which loads the same, and ends
