"""Files as other tools write them become rows; what is left out is counted; what cannot be is refused."""

import json
import os
import stat

import pytest
from import_cases import ASKED, FILES, MARKED, imported, mentions_of

from medtune.cli.app import run
from medtune.data.importers.importing import import_file
from medtune.data.importers.options import Discontinuous, ImportOptions, Overlapping, Tokens
from medtune.data.importers.reading import Input
from medtune.errors import DataError, SpecError, StorageError


@pytest.mark.parametrize("name", MARKED)
def test_a_marked_file_gives_the_mentions_that_stand_in_it(name, tmp_path):
    report, rows = imported(FILES / name, tmp_path)
    assert (report.format, mentions_of(rows)) == MARKED[name]
    assert report.labelled == len(MARKED[name][1])
    assert report.rows == len(rows)
    for row in rows:
        assert list(row) == ["instruction", "input", "output", "source", "document"]
        assert " ".join(line.rpartition(" : ")[0] for line in row["output"].split("\n")) == row["input"]


@pytest.mark.parametrize("name", ASKED)
def test_a_file_of_questions_gives_its_answers(name, tmp_path):
    report, rows = imported(FILES / name, tmp_path)
    assert report.format == ASKED[name][0]
    assert report.task == "qa"
    for row, answer in zip(rows, ASKED[name][1], strict=True):
        assert row["output"].removesuffix(" IS CORRECT.").endswith(answer)


def test_every_file_that_lies_here_is_tried():
    tried = {*MARKED, *ASKED, "conll_cp1252.txt", "medmcqa_unclear.jsonl"}
    assert {path.name for path in FILES.iterdir()} == tried


def test_documents_keep_their_ids(tmp_path):
    for name, ids in {
        "pubtator.txt": {"1001", "1002", "1003"},
        "bioc_passages.xml": {"1001", "1002", "1003"},
        "brat_rich": {"ward/note1", "ward/note2"},
        "label_studio.json": {"1", "2"},
        "bigbio_kb.jsonl": {"d5001", "d5002"},
        "pubmedqa_ori.json": {"6001", "6002"},
        "conllu.conllu": {"note-7"},
        "conll2003.txt": {"conll2003.txt#1", "conll2003.txt#2"},
        "conll_bare.txt": {""},
    }.items():
        _report, rows = imported(FILES / name, tmp_path)
        assert {row["document"] for row in rows} == ids, name


def test_related_mentions_are_masked_and_others_of_their_types_are_the_negatives(tmp_path):
    report, rows = imported(FILES / "pubtator_cdr.txt", tmp_path, "relation")
    assert [(row["input"], row["output"]) for row in rows] == [
        ("@chemical$ and @disease$.", "CID"),
        ("@chemical$ caused @disease$.", "CID"),
        ("@chemical$ and @disease$.", "CID"),
    ]
    assert not report.left_out
    _report, rows = imported(FILES / "bigbio_kb.jsonl", tmp_path, "relation")
    assert [row["output"] for row in rows] == ["causes", "causes", "No Relations"]
    assert rows[2]["input"] == "Warfarin and @chemical$ led to @disease$."


def test_what_is_left_out_is_counted_with_its_reason_and_place(tmp_path):
    report, _rows = imported(FILES / "brat_rich", tmp_path)
    assert report.left_out == {
        "texts without annotations beside them": 1,
        "annotations without a text beside them": 1,
        "events": 1,
        "attributes": 2,
        "links into vocabularies": 1,
        "notes of annotators": 1,
        "equivalences": 1,
        "relations, which --task relation makes rows of": 2,
        "mentions that overlap a longer or earlier one": 1,
    }
    assert report.places["events"] == "ward/note1.ann:9"
    report, _rows = imported(FILES / "label_studio.json", tmp_path)
    assert report.left_out["annotations of further annotators"] == 1
    assert report.left_out["tasks without an annotation"] == 1


def test_a_document_whose_mention_is_not_at_its_offset_gives_no_row(tmp_path):
    report, rows = imported(FILES / "pubtator_crlf.txt", tmp_path)
    assert {row["document"] for row in rows} == {"4001"}
    assert report.left_out["mentions whose text is not at their offsets"] == 1
    assert report.left_out["documents with such a mention"] == 1
    moved = (
        (FILES / "pubtator.txt").read_text("utf-8").replace("\t0\t9\t", "\t5\t14\t").replace("\t13\t30\t", "\t3\t9\t")
    )
    others = "".join(f"9{i}|t|Gout.\n9{i}|a|None.\n9{i}\t1\t5\tGout\tDisease\t-\n\n" for i in range(20))
    (tmp_path / "moved.txt").write_text(moved + "\n" + others, "utf-8")
    with pytest.raises(DataError, match=r"22 of 34 mentions .* are not at their offsets"):
        imported(tmp_path / "moved.txt", tmp_path)


def test_the_unit_that_offsets_count_is_found_and_said(tmp_path):
    for name, unit in {
        "brat_utf16": "UTF-16 code units",
        "bioc_bytes.xml": "UTF-8 bytes",
        "brat_windows": "a line end of two characters as one",
        "label_studio.json": "UTF-16 code units",
    }.items():
        report, _rows = imported(FILES / name, tmp_path)
        assert f"documents whose offsets count {unit}" in report.noted, name


def test_a_word_cut_here_and_there_is_no_reason_to_count_otherwise(tmp_path):
    text = "Größe und Gewicht: hyperkaliämie, nonalcoholic steatosis, gout."
    spans = [[text.index(word), text.index(word) + len(word), "X"] for word in ("Gewicht", "alcoholic", "gout")]
    (tmp_path / "cut.jsonl").write_text(json.dumps({"id": 1, "text": text, "label": spans}) + "\n")
    report, rows = imported(tmp_path / "cut.jsonl", tmp_path)
    assert not any("offsets count" in what for what in report.noted)
    assert mentions_of(rows) == [("X", "Gewicht"), ("X", "nonalcoholic"), ("X", "gout")]


def test_mentions_in_pieces_and_overlapping_ones_are_taken_as_asked(tmp_path):
    _report, rows = imported(FILES / "brat_rich", tmp_path, overlapping=Overlapping.SHORTEST)
    assert ("Finding", "right kidney stones") in mentions_of(rows)
    report, rows = imported(FILES / "brat_rich", tmp_path, discontinuous=Discontinuous.DROP)
    assert report.left_out["discontinuous mentions"] == 1
    assert ("Finding", "right kidney stones") in mentions_of(rows)
    assert ("Finding", "chest pain") in mentions_of(rows)  # in pieces for its line end only


def test_a_token_that_a_mention_cuts_is_labelled_whole_and_counted(tmp_path):
    line = {"id": 1, "text": "nonalcoholic steatosis", "label": [[3, 12, "CAUSE"]]}
    (tmp_path / "cut.jsonl").write_text(json.dumps(line) + "\n")
    report, rows = imported(tmp_path / "cut.jsonl", tmp_path)
    assert mentions_of(rows) == [("CAUSE", "nonalcoholic")]
    assert report.noted == {"mentions that begin or end inside a token, labelled with all of it": 1}


def test_a_text_that_was_cut_into_tokens_keeps_them_and_its_lines(tmp_path):
    text = "The R117H - mutation ( 0 . 5 % ) , see Smith . In T-cells it is rare .\nNF-kB binds .\nSo .\nIt does .\nYes .\nNo .\nIt is .\nIt was .\nOk ."
    at = text.index("NF-kB")
    (tmp_path / "n.txt").write_text(text)
    (tmp_path / "n.ann").write_text(f"T1\tGene {at} {at + 5}\tNF-kB\n")
    report, rows = imported(tmp_path / "n.ann", tmp_path)
    assert report.tokens == "spaces"
    assert [row["input"] for row in rows] == text.split("\n")
    _report, rows = imported(tmp_path / "n.ann", tmp_path, tokens=Tokens.WORDS)
    assert mentions_of(rows) == [("Gene", "NF - kB")]
    joined = "Loss of APC2 , a gene .\nIt is rare . NF-kB binds it . No T-cells were seen ."
    (tmp_path / "n.txt").write_text(joined)
    (tmp_path / "n.ann").write_text(f"T1\tGene {joined.index('NF')} {joined.index('NF') + 5}\tNF-kB\n")
    _report, rows = imported(tmp_path / "n.ann", tmp_path)
    assert [row["input"] for row in rows] == [
        *joined.split("\n")[:1],
        "It is rare .",
        "NF-kB binds it .",
        "No T-cells were seen .",
    ]


def test_the_scheme_of_tags_is_seen_and_said(tmp_path):
    schemes = {
        "conll_iob1.txt": "IOB1",
        "conll_bioes.txt": "BIOES",
        "conll_bilou.txt": "BIOES",
        "conll2003.txt": "IOB2",
    }
    for name, scheme in schemes.items():
        report, _rows = imported(FILES / name, tmp_path)
        assert (report.scheme, report.noted) == (scheme, {}), name
    good = "all\tO\nwell\tO\n\n" * 20
    (tmp_path / "broken.txt").write_text(good + "gout\tB-A\nnow\tX-A\n\nlung\tI-A\nmass\tI-B\nor\tO\nflu\tB-A\n")
    report, rows = imported(tmp_path / "broken.txt", tmp_path)
    assert mentions_of(rows) == [("A", "lung"), ("B", "mass"), ("A", "flu")]
    assert report.left_out == {"sentences with a tag that is none of B, I, O, E, S, L, U and M": 1}
    assert report.noted == {"mentions that go on where none began, taken as begun there": 2}


def test_a_line_that_names_the_columns_is_none_of_tokens(tmp_path):
    (tmp_path / "named.tsv").write_text("word\ttag\ngout\tB-DIS\nhurts\tO\n\nno\tO\n")
    _report, rows = imported(tmp_path / "named.tsv", tmp_path)
    assert [row["input"] for row in rows] == ["gout hurts", "no"]


def test_a_file_without_a_mention_whose_marks_are_of_another_kind_is_refused(tmp_path):
    result = [{"id": "z", "type": "rating", "value": {"rating": 4}}]
    task = [{"id": 1, "data": {"text": "He has gout."}, "annotations": [{"result": result}]}]
    (tmp_path / "choices.json").write_text(json.dumps(task))
    with pytest.raises(DataError, match=r"no row with a mention \(1 results that mark no span"):
        imported(tmp_path / "choices.json", tmp_path)


def test_options_are_numbered_as_the_file_numbers_them_or_not_at_all(tmp_path):
    with pytest.raises(DataError, match=r"neither 0 nor 4 .* --first-option"):
        imported(FILES / "medmcqa_unclear.jsonl", tmp_path)
    report, rows = imported(FILES / "medmcqa_unclear.jsonl", tmp_path, first_option=1)
    assert report.first_option == 1
    assert rows[0]["output"].endswith("OPTION B IS CORRECT.")
    both = [json.dumps({"question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": n}) for n in (0, 4)]
    (tmp_path / "both.jsonl").write_text("\n".join(both))
    with pytest.raises(DataError, match="numbered from 0 to 4"):
        imported(tmp_path / "both.jsonl", tmp_path)


def test_another_encoding_is_named_by_the_user(tmp_path):
    with pytest.raises(DataError, match="--encoding"):
        imported(FILES / "conll_cp1252.txt", tmp_path)
    report, rows = imported(FILES / "conll_cp1252.txt", tmp_path, encoding="cp1252")
    assert report.encoding == "cp1252"
    assert mentions_of(rows) == [("SITE", "Milz"), ("DIS", "Fièvre")]
    with pytest.raises(SpecError, match="no encoding 'cp1525'"):
        imported(FILES / "conll_cp1252.txt", tmp_path, encoding="cp1525")


@pytest.mark.parametrize("declared", ['<!ENTITY a "b">', '<!ENTITY x SYSTEM "file:///etc/hostname">'])
def test_xml_that_declares_entities_is_refused(declared, tmp_path):
    body = "<document><id>1</id><passage><offset>0</offset><text>{}</text></passage></document></collection>"
    for used in ("&a;", "&x;", "plain"):
        text = f"<!DOCTYPE collection [{declared}]><collection>{body.format(used)}"
        (tmp_path / "bomb.xml").write_text(text)
        with pytest.raises(DataError, match="entities of its own"):
            imported(tmp_path / "bomb.xml", tmp_path)


def test_an_entity_of_a_document_type_that_is_not_read_is_refused_rather_than_dropped(tmp_path):
    head = '<?xml version="1.0"?><!DOCTYPE collection SYSTEM "BioC.dtd"><collection><document><id>1</id><passage>'
    mark = (
        '<annotation id="1"><infon key="type">D</infon><location offset="0" length="4"/><text>gout</text></annotation>'
    )
    tail = f"<offset>0</offset><text>gout {{}}</text>{mark}</passage></document></collection>"
    (tmp_path / "known.xml").write_text(head + tail.format("&amp; pain"))
    _report, rows = imported(tmp_path / "known.xml", tmp_path)
    assert rows[0]["input"] == "gout & pain"
    (tmp_path / "unknown.xml").write_text(head + tail.format("&beta;"))
    with pytest.raises(DataError, match="entities of its own"):
        imported(tmp_path / "unknown.xml", tmp_path)


def test_a_file_that_breaks_off_is_refused_and_leaves_nothing(tmp_path):
    for name in ("bioc_passages.xml", "bioc_collection.json", "label_studio.json"):
        whole = (FILES / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(DataError, match=name):
            import_file(Input(tmp_path / name), tmp_path / "rows.jsonl")
    assert not list(tmp_path.glob("*rows.jsonl*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"resourceType": "DocumentReference"}', "FHIR"),
        ('{"instruction": "a", "output": "b"}', "needs no import"),
        ("a;b;c\n1;2;3\n", "none of the formats"),
        ("<html></html>", "no BioC collection"),
        ("PAR1xxxx", "Parquet"),
        ("", "empty"),
        ("-DOCSTART-\n", "none of the formats"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(text, says, tmp_path):
    (tmp_path / "file.x").write_text(text)
    with pytest.raises(DataError, match=says):
        imported(tmp_path / "file.x", tmp_path)


def test_a_missing_file_a_wrong_task_and_a_misspelt_format_are_named(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        imported(tmp_path / "none", tmp_path)
    with pytest.raises(SpecError, match="--task ner, not relation"):
        imported(FILES / "bars.txt", tmp_path, "relation")
    with pytest.raises(DataError, match="marks no relation"):
        imported(FILES / "doccano_old.json", tmp_path, "relation")
    with pytest.raises(SpecError, match="did you mean 'pubtator'"):
        imported(FILES / "bars.txt", tmp_path, format="pubtater")


def test_options_that_would_be_ignored_are_refused(tmp_path):
    for name, task, options in (
        ("bars.txt", None, {"tokens": Tokens.WORDS}),
        ("medqa_five.jsonl", None, {"overlapping": Overlapping.SHORTEST}),
        ("pubtator.txt", "relation", {"discontinuous": Discontinuous.DROP}),
        ("medqa_five.jsonl", None, {"first_option": 1}),
    ):
        with pytest.raises(SpecError, match="leave it out"):
            imported(FILES / name, tmp_path, task, **options)
    with pytest.raises(SpecError, match="--tag-column"):
        import_file(Input(FILES / "pubtator.txt", tag_column=2), tmp_path / "rows.jsonl")


def test_columns_are_taken_as_named_and_comments_of_as_many_words_are_comments(tmp_path):
    (tmp_path / "two.txt").write_text("# made today by hand\n# sentence one x\ngout B-A B-X 1\nhurts O O 2\n# O O 3\n")
    _report, rows = imported(tmp_path / "two.txt", tmp_path)
    assert rows[0]["output"] == "gout : B-X\nhurts : O\n# : O"
    import_file(Input(tmp_path / "two.txt", token_column=4, tag_column=2), tmp_path / "rows.jsonl")
    assert "1 : B-A" in json.loads((tmp_path / "rows.jsonl").read_text())["output"]
    with pytest.raises(SpecError, match="--tag-column 9 is not there"):
        import_file(Input(tmp_path / "two.txt", tag_column=9), tmp_path / "rows.jsonl")


def test_rows_are_readable_by_their_owner_only_and_never_written_over_their_file(tmp_path):
    imported(FILES / "bars.txt", tmp_path)
    assert stat.S_IMODE((tmp_path / "rows.jsonl").stat().st_mode) == 0o600
    copy = tmp_path / "bars.txt"
    copy.write_bytes((FILES / "bars.txt").read_bytes())
    with pytest.raises(SpecError, match="written over"):
        import_file(Input(copy), copy)


def test_every_file_of_a_brat_folder_is_read_or_named(tmp_path):
    brat = tmp_path / "brat"
    (brat / ".git").mkdir(parents=True)
    for name, text in {"a.txt": "gout", "B.TXT": "gout", "c.txt": "gout", "lone.txt": "gout", "guide.pdf": "x",
                       "annotation.conf": "x", ".git/x.txt": "gout"}.items():  # fmt: skip
        (brat / name).write_text(text)
    for name in ("a.ann", "B.ANN", "c.ANN", "orphan.ann"):
        (brat / name).write_text("T1\tD 0 4\tgout\n")
    (brat / "gone.ann").symlink_to(brat / "nowhere")
    os.mkfifo(brat / "pipe.txt")
    report, rows = imported(brat, tmp_path)
    assert sorted(row["document"] for row in rows) == ["B", "a", "c"]
    assert (report.mentions, report.labelled) == (3, 3)
    expected = {
        "texts without annotations beside them": "lone.txt",
        "annotations without a text beside them": "orphan.ann",
        "files that are neither .txt nor .ann": "guide.pdf",
        "files that cannot be read: a link that leads nowhere": "gone.ann",
        "files that cannot be read: a pipe or device": "pipe.txt",
    }
    assert (report.left_out, report.places) == (dict.fromkeys(expected, 1), expected)
    for name in ("B.TXT", "c.ANN", "c.txt"):
        assert imported(brat / name, tmp_path)[0].labelled == 1


@pytest.mark.parametrize(
    "text",
    [
        "question|answer|grade\nIs it gout?|yes|good\nIs it flu?|no|good\n",
        "question|a|grade\nquestion|b|good\n",
        'question,answer\n"Is it gout (yes|no|maybe)?",yes\n"Is it flu (yes|no|maybe)?",no\n',
    ],
)
def test_a_table_with_pipes_is_no_pubtator_and_gives_no_rows_without_a_mention(tmp_path, text):
    table, target = tmp_path / "table.csv", tmp_path / "rows.jsonl"
    table.write_text(text)
    with pytest.raises(DataError, match="a table needs no import"):
        import_file(Input(table), target)
    for name in ("pubtator", "doccano"):
        with pytest.raises(DataError):
            import_file(Input(table), target, ImportOptions(format=name))
    (tmp_path / "plain.txt").write_text("1|t|Gout.\n1|a|It hurts.\n")
    with pytest.raises(DataError, match=r"gives no row with a mention; nothing was written"):
        import_file(Input(tmp_path / "plain.txt"), target)
    assert not target.exists()


def test_half_a_character_is_left_out_and_counted(tmp_path):
    lines = ['{"id": 1, "text": "bad \\ud83d end", "label": []}', '{"id": 2, "text": "good", "label": [[0, 4, "A"]]}']
    (tmp_path / "half.jsonl").write_text("\n".join(lines))
    report, rows = imported(tmp_path / "half.jsonl", tmp_path)
    assert [row["document"] for row in rows] == ["2"]
    assert report.left_out == {"rows with half of a character (a lone surrogate)": 1}


def test_the_command_prints_its_report(tmp_path, capsys):
    target = tmp_path / "rows.jsonl"
    assert run(["import", str(FILES / "brat_rich"), "--to", str(target), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == "brat"
    assert report["rows"] == len(target.read_text().splitlines())
    assert report["left_out"]["events"] == 1
    assert run(["import", str(FILES / "brat_rich"), "--to", str(target)]) == 0
    assert "events" in capsys.readouterr().out
    assert run(["import", str(FILES / "conll_cp1252.txt"), "--to", str(target)]) == 3
