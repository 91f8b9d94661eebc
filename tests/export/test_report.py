"""The report is one whole page that needs no network, shows what was found, and escapes what models write."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from medtune.errors import StorageError
from medtune.evaluation.comparison import compare
from medtune.evaluation.scoring import score_predictions, write_predictions
from medtune.evaluation.tasks import provide_tasks
from medtune.export.charts import curve, histogram
from medtune.export.report import write_report
from medtune.plugins.contracts import Example, Prediction

VOID = {"meta", "br", "line", "polyline", "rect", "link", "img", "input", "hr"}
HOSTILE = '<script>alert("x")</script> & "quotes"'


class Outline(HTMLParser):
    """Checks that tags are closed in order, and keeps what a browser would load or show."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def example_of(task, source, question, gold, number):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": gold}]
    return Example(messages, source=source, task=task, row_id=f"rows.jsonl:{number}")


ROWS = [
    (
        example_of("ner", "tags", "Tag it .\n\nno chest pain", "no : O\nchest : B\npain : I", 1),
        "no : O",
        "no : B\nx : B",
    ),
    (example_of("nli", "pairs", f"Sentence 1: {HOSTILE}\nSentence 2: b", "Neutral", 2), HOSTILE, "Neutral"),
    (example_of("classification", "marks", "which hallmark", "None", 3), "", "None"),
    (example_of("qa", "asked", "###Question: what helps ?", "tea", 4), "rest", "tea"),
    (example_of("relation", "masked", "@test$ and @problem$", "TeRP", 5), "TeCP", "TeRP"),
]
ROWS = [(replace(row[0], row_id=f"{row[0].row_id}{time}"), *row[1:]) for time in range(6) for row in ROWS]


def fill(folder, systems=("base", "tuned")):
    """Write an evaluation into a run folder; returns the comparison as JSON."""
    tasks = provide_tasks()
    answers = {
        name: [Prediction(example, texts[place]) for example, *texts in ROWS]
        for place, name in enumerate(("base", "tuned"))
        if name in systems
    }
    scores = {name: score_predictions(rows, tasks, overlapping=["rows.jsonl:20"]) for name, rows in answers.items()}
    (folder / "evaluation").mkdir()
    for name, score in scores.items():
        (folder / "evaluation" / f"{name}.json").write_text(json.dumps(score.to_json()))
        write_predictions(folder / "evaluation" / f"predictions-{name}.jsonl", answers[name])
    if len(scores) < 2:
        return {}
    return compare(scores["base"], scores["tuned"], answers["base"], answers["tuned"], tasks=tasks).to_json()


LENGTHS = {
    "rows": 30, "tokens": 900, "supervised_tokens": 400, "longest": 60, "needed": {"95": 50, "99": 58, "100": 60},
    "lost_rows": 3, "lost_supervised_tokens": 9, "shortened_rows": 1, "histogram": {"bucket_width": 5, "rows": [1, 5, 0, 2]},
}  # fmt: skip
RECORD = {
    "state": "finished",
    "updated": "2030-01-02T03:04:05+00:00",
    "spec": {"model": {"name": "org/base<b>"}, "data": {"source": "rows.jsonl"}, "lora": {"r": 8}, "seed": 42},
    "plan": {"device": "CPU", "backends": {"trainer": "trl"}, "licences": ["model: Apache-2.0"], "memory_gib": {"peak": 1.5}},
    "versions": {"torch": "2.13.0"},
    "fingerprints": {"data": "f" * 64},
    "result": {"steps": 20, "train_loss": 1.25, "tokens": 12345, "tokens_per_second": 99.5, "seconds": 90.0},
    "preparation": {
        "rows": 27, "tokens": 810, "supervised_tokens": 300, "packed_rows": 4, "fill": 0.99, "quarantined": 2,
        "reasons": {"column 'output' is <empty>": 2}, "sources": {"tags": LENGTHS}, "overlap": {"tags": {"exact": 7}},
        "dropped_overlap": 0,
    },
}  # fmt: skip
LOG = [{"step": step, "loss": 2.0 / step, "tokens_per_second": 50.0 + step} for step in range(10, 60, 10)]


def read(folder):
    """Return the page's source and its parsed outline."""
    source = (folder / "report.html").read_text("utf-8")
    outline = Outline()
    outline.feed(source)
    assert outline.open == []
    return source, outline


@pytest.fixture
def written(tmp_path):
    comparison = fill(tmp_path)
    assert (
        write_report(tmp_path, record={**RECORD, "comparison": comparison}, log=LOG, show_texts=True)
        == tmp_path / "report.html"
    )
    return read(tmp_path)


def test_the_page_is_whole_and_loads_nothing(written):
    source, outline = written
    assert source.startswith("<!doctype html>")
    assert all(link.startswith("#") for link in outline.links)
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert "http" not in source.replace("http-equiv", "")
    assert not re.search(r"@import|url\(", source)


def test_links_lead_to_a_section(written):
    source, outline = written
    assert outline.links
    for link in outline.links:
        assert f'id="{link[1:]}"' in source


def test_what_models_and_files_wrote_is_escaped(written):
    source, outline = written
    assert HOSTILE not in source
    assert HOSTILE in "".join(outline.text)
    assert "org/base<b>" in "".join(outline.text)
    assert "column 'output' is <empty>" in "".join(outline.text)


@pytest.mark.parametrize(
    "shown",
    ["better than the base", "no better than the base", "+100.0", "classification", "rows.jsonl:10", "Neutral",
     "wrong label", "empty answer", "chest pain", "not in the input", "Loss per supervised token", "99.0% full",
     "2 malformed rows were set aside", "model: Apache-2.0", "2.13.0", "20", "12,345", "sources", "per sentence",
     "Rows that do not also stand in the training rows", "not comparable with published test scores", "(invalid)"],
)  # fmt: skip
def test_the_page_shows(shown, written):
    if shown == "sources":
        assert all(source in "".join(written[1].text) for source in ("tags", "pairs", "marks", "asked", "masked"))
    else:
        assert shown in "".join(written[1].text)


def test_the_research_sentence_stands_once(written):
    assert "".join(written[1].text).count("medical advice") == 1


@pytest.mark.parametrize(
    ("wish", "given", "shown"),
    [(None, None, False), (False, None, False), (True, None, True), (True, False, False), (None, True, True)],
)
def test_texts_are_left_out_unless_the_spec_or_the_caller_wants_them(tmp_path, wish, given, shown):
    spec = {**RECORD["spec"], "eval": {} if wish is None else {"show_texts": wish}}
    write_report(tmp_path, record={**RECORD, "spec": spec, "comparison": fill(tmp_path)}, log=LOG, show_texts=given)
    text = "".join(read(tmp_path)[1].text)
    assert ("alert" in text) == shown
    assert ("chest" in text) == shown
    assert "wrong label" in text
    assert ("Texts were left out" in text) != shown


@pytest.mark.parametrize("systems", [(), ("base",), ("tuned",)])
def test_a_run_with_less_to_show_has_a_report_all_the_same(systems, tmp_path):
    fill(tmp_path, systems)
    write_report(tmp_path, record=RECORD, log=LOG)
    text = "".join(read(tmp_path)[1].text)
    assert ("Base against tuned" in text) == bool(systems)
    assert "Loss per supervised token" in text


def test_an_empty_record_gives_a_page(tmp_path):
    write_report(tmp_path, record={}, log=[])
    assert read(tmp_path)[1].text


def test_a_loss_that_was_not_finite_leaves_a_gap(tmp_path):
    write_report(tmp_path, record=RECORD, log=[*LOG, {"step": 60, "loss": "NaN"}, {"event": "saved"}])
    assert "NaN" not in read(tmp_path)[0]


def test_a_damaged_evaluation_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "evaluation" / "tuned.json").write_text("{")
    with pytest.raises(StorageError, match=r"tuned\.json' cannot be read as an evaluation"):
        write_report(tmp_path, record=RECORD, log=LOG)


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(tmp_path / "gone", record=RECORD, log=LOG)


def points_of(svg):
    return [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]*)"', svg)[1].split()]


def test_a_curve_spans_the_width_and_stays_within_the_height():
    points = points_of(curve([(10, 3.0), (20, 1.0), (40, 2.0)], "loss", "step"))
    assert [x for x, _y in points] == pytest.approx([0, 1000 / 3, 1000], abs=0.1)
    assert all(0 <= y <= 300 for _x, y in points)
    assert points[0][1] < points[2][1] < points[1][1]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [1e-9, 2e-9], [-3.0, 4e6], [0.1, 0.30000000000000004]])
def test_any_values_have_a_curve(values):
    points = points_of(curve(list(enumerate(values)), "loss", "step"))
    assert all(-0.1 <= y <= 300.1 for _x, y in points)


def test_a_single_point_has_no_curve():
    assert curve([(1, 2.0)], "loss", "step") == ""
    assert histogram([0, 0], "lengths") == ""


def test_answers_in_other_words_have_a_table_of_their_own(tmp_path):
    fill(tmp_path)
    write_report(tmp_path, record=RECORD, log=LOG)
    assert "In other words" not in read(tmp_path)[0]
    found = {"metric": "accuracy", "values": [0.5, 0.75], "lowest": 0.5, "highest": 0.75, "mean": 0.625}
    (tmp_path / "evaluation" / "paraphrases.json").write_text(json.dumps({"rows": 30, "tasks": {"nli": found}}))
    write_report(tmp_path, record=RECORD, log=LOG)
    text = " ".join(read(tmp_path)[1].text)
    assert re.search(
        r"In other words .* nli\s+accuracy\s+2\s+0\.500\s+0\.625\s+0\.750 .* same 30 rows", text, re.DOTALL
    )


def test_what_the_sources_are_stands_above_their_scores(tmp_path):
    fill(tmp_path)
    file = tmp_path / "evaluation" / "tuned.json"
    contract = {"source": "rel", "kind": "relation", "task": "relation", "known": "declared; its answers have 1 more",
                "labels": [f"CPR:{i}" for i in range(14)], "negative": ["none"], "metric": "macro_f1_positive"}  # fmt: skip
    file.write_text(json.dumps({**json.loads(file.read_text()), "contracts": [contract]}))
    write_report(tmp_path, record=RECORD, log=LOG)
    text = " ".join(" ".join(read(tmp_path)[1].text).split())
    assert re.search(
        r"What the sources are .* rel relation relation declared; its answers have 1 more CPR:0, .*CPR:11 and 2 more none "
        r"macro F1 positive Base against tuned", text
    )  # fmt: skip


def test_a_figure_without_an_interval_says_why(tmp_path):
    fill(tmp_path)
    write_report(tmp_path, record=RECORD, log=LOG)
    source = read(tmp_path)[0]
    assert "<small>too few rows</small>" in source.partition("Every figure")[2]


def test_what_stood_beside_answers_that_were_replaced_since_is_left_out(tmp_path):
    fill(tmp_path)
    folder = tmp_path / "evaluation"
    answers = folder / "predictions-tuned.jsonl"
    kept = hashlib.sha256(answers.read_bytes()).hexdigest()
    compared = {"metric": "accuracy", "base": 0.25, "tuned": 0.5, "difference": 0.25, "rows": 6, "interval": None,
                "p_value": 0.5, "verdict": "no better than majority (+25.0 points)"}  # fmt: skip
    cost = {"per_1000_rows": {"seconds": 1.0, "cost": None}}
    few = {"intervals": {}, "metrics": {"accuracy": 0.25}, "primary": "accuracy", "rows": 6, "rows_of": {"accuracy": 4},
           "no_interval": {"accuracy": "too few documents: 4 of the 10 that an interval needs"}}  # fmt: skip
    sure = {**few, "metrics": {"accuracy": 0.5}, "intervals": {"accuracy": [0.125, 0.875]}}
    own = {
        name: {"tasks": {"nli": of}, "sources": {"pairs": {"nli": of}}} for name, of in (("other", few), ("mine", sure))
    }
    system = {"comparison": {"tasks": {"nli": compared}}, **own["other"], "adapter": own["mine"], **cost}
    found = {"metric": "accuracy", "values": [0.5, 0.75], "lowest": 0.5, "highest": 0.75, "mean": 0.625}
    beside = {"tuned_predictions": kept, "systems": {"majority": system}, "tuned": cost}
    (folder / "baselines.json").write_text(json.dumps(beside))
    (folder / "paraphrases.json").write_text(
        json.dumps({"rows": 30, "tuned_predictions": kept, "tasks": {"nli": found}})
    )
    write_report(tmp_path, record=RECORD, log=LOG)
    text = " ".join(read(tmp_path)[1].text)
    shown = " ".join(text.partition("Beside other systems")[2].split())
    assert re.search(
        r"majority nli accuracy 4 0\.250 too few documents 0\.500 0\.125 to 0\.875 .*no better than majority p = 0\.500",
        shown,
    )
    assert re.search(
        r"Other systems by source .* majority pairs nli accuracy 4 0\.250 too few documents 0\.500 0\.125", shown
    )
    assert "0.625" in text
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:-4]))
    write_report(tmp_path, record=RECORD, log=LOG)
    text = " ".join(read(tmp_path)[1].text)
    assert "majority" not in text
    assert "0.625" not in text
    assert "Other systems are left out: they were held beside answers" in text
    assert "Scores in other words are left out" in text
    (folder / "paraphrases.json").write_text(json.dumps({"rows": 30, "tasks": {"nli": found}}))
    write_report(tmp_path, record=RECORD, log=LOG)
    assert "0.625" not in " ".join(read(tmp_path)[1].text)


def test_scores_on_different_rows_are_not_held_against_each_other(tmp_path):
    fill(tmp_path)
    kept = tmp_path / "evaluation" / "predictions-tuned.jsonl"
    kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:-1]))
    write_report(tmp_path, record=RECORD, log=LOG)
    text = " ".join(read(tmp_path)[1].text)
    assert "The base is left out: it was scored on other rows" in text
    assert "→" not in text


def test_each_source_has_its_losses_and_its_share_of_the_supervised_tokens(tmp_path):
    log = [
        {"step": 1, "loss": 2.0, "loss_by_source": {"a": 3.0}, "supervised_by_source": {"a": 10}},
        {"step": 2, "loss": 1.0, "loss_by_source": {"a": 1.5, "": 0.5}, "supervised_by_source": {"a": 30, "": 10}},
        {"step": 3, "event": "out of memory"},
    ]
    write_report(tmp_path, record=RECORD, log=log)
    text = " ".join(" ".join(read(tmp_path)[1].text).split())
    assert "unnamed 0.500 0.500 10 25.0% a 3.000 1.500 30 75.0%" in text


def test_one_token_is_no_tokens(tmp_path):
    gold = "no : O\nchest : B\npain : I"
    asked = replace(
        ROWS[0][0],
        messages=[{"role": "user", "content": "Tag it .\n\nno chest pain"}, {"role": "assistant", "content": gold}],
    )
    (tmp_path / "evaluation").mkdir()
    answers = [Prediction(asked, "no : O\nchest : B\nand : O")]
    write_predictions(tmp_path / "evaluation" / "predictions-tuned.jsonl", answers)
    write_report(tmp_path, record=RECORD, log=[], show_texts=True)
    assert "(1 token without a line, 1 line beyond the input)" in " ".join(" ".join(read(tmp_path)[1].text).split())


def trusted(folder, **facts):
    """Write an evaluation whose answers have a confidence, and the report."""
    (folder / "evaluation").mkdir()
    for name, shift in (("base", 0.4), ("tuned", 0.1)):
        answers = [
            Prediction(
                example_of("nli", ("one", "two")[i % 2], "Sentence 1: a\nSentence 2: b", "Neutral", i),
                "Neutral" if (i * 7 % 400) / 400 > shift else "Entailment",
                confidence=0.3 + 0.7 * (i * 7 % 400) / 400,
            )
            for i in range(400)
        ]
        scores = score_predictions(answers, provide_tasks(), alpha=0.1).to_json()
        (folder / "evaluation" / f"{name}.json").write_text(json.dumps({**scores, **facts}))
    write_report(folder, record=RECORD, log=LOG)
    return read(folder)


def test_when_to_trust_an_answer_is_drawn_and_told(tmp_path):
    source, outline = trusted(tmp_path)
    text = " ".join(" ".join(outline.text).split())
    assert '<section id="trust"><h2>When to trust an answer</h2>' in source
    assert 'href="#trust"' in source
    assert "How often answers are right against how sure they are (tuned)" in text
    assert "Wrong answers among the surest ones" in text
    assert "at most 10 % are wrong, with 95 % chance" in text
    assert re.search(r"nli tuned 400 0\.8\d\d 1\.000 .* nli: one tuned 200 .* nli: two tuned 200", text)


def test_plots_of_trust_stay_within_their_frame(tmp_path):
    source, _outline = trusted(tmp_path)
    section = source[source.index('<section id="trust">') : source.index("</section>", source.index('id="trust"'))]
    lines = re.findall(r'<polyline points="([^"]*)"', section)
    assert len(lines) == 4  # diagonal and reliability, base and tuned risk
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in line.split()]
        assert all(0 <= x <= 1000 and 0 <= y <= 300 for x, y in points)
    dots = re.findall(r"left:([\d.]+)%;bottom:([\d.]+)%", section)
    assert dots
    assert all(0 <= float(place) <= 100 for dot in dots for place in dot)


def test_a_report_without_confidence_says_nothing_of_trust(written):
    assert 'id="trust"' not in written[0]


def test_the_page_is_made_for_a_phone_and_for_paper(written):
    """Wide tables become lists on a phone; a printed page has its heads on every page and no figure cut in two."""
    source = written[0]
    style = source[source.index("<style>") : source.index("</style>")]
    phone, paper = (style[style.index(f"@media {kind}") :] for kind in ("(max-width", "print"))
    assert ".stack td { display: flex" in phone
    assert "@page" in paper
    assert "thead { display: table-header-group; }" in paper
    assert re.search(r"figure,[^{]*\{ break-inside: avoid; \}", paper)
    wide = [table for table in source.split("<table")[1:] if table.split("</thead>")[0].count("<th") > 6]
    assert wide
    assert all(table.startswith(' class="stack"') or 'class="cell"' in table for table in wide)
