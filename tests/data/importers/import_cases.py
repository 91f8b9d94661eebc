"""What each file under ``files`` holds, and helpers to import one."""

import json
from pathlib import Path

from medtune.data.importers.importing import import_file
from medtune.data.importers.options import ImportOptions, Task
from medtune.data.importers.reading import Input

FILES = Path(__file__).parent / "files"


def imported(path, folder, task=None, *, encoding=None, **options):
    """Return the report and the rows of an import."""
    target = folder / "rows.jsonl"
    chosen = ImportOptions(task=None if task is None else Task(task), **options)
    report = import_file(Input(Path(path), encoding), target, chosen)
    return report, [json.loads(line) for line in target.read_text("utf-8").splitlines()]


def mentions_of(rows):
    """Return type and tokens of every mention in rows of NER, in order."""
    found = []
    for row in rows:
        for line in row["output"].split("\n"):
            token, _, label = line.rpartition(" : ")
            if label.startswith("B"):
                found.append([label[2:], token])
            elif label.startswith("I"):
                found[-1][1] += " " + token
    return [tuple(mention) for mention in found]


DRUGS = [
    ("Chemical", "Metformin"), ("Disease", "diabetes mellitus"), ("Chemical", "Metformin"),
    ("Disease", "diabetes mellitus"), ("Disease", "arthritis"), ("Disease", "arthritis"), ("Chemical", "methotrexate"),
    ("Disease", "hepatitis"), ("Chemical", "Aspirin"), ("Disease", "stroke"), ("Chemical", "aspirin"),
    ("Disease", "stroke"), ("Chemical", "β - blockers"), ("Disease", "heart failure"),
]  # fmt: skip
"""Mentions of the three texts that bioc's own writers wrote in every format that it has."""
COUGH = [("DRUG", "Ramipril"), ("ADE", "cough")]
PAIN = [("Chemical", "Ibuprofen"), ("Disease", "migraine"), ("Disease", "pain"), ("Chemical", "codeine")]
WARFARIN = [
    ("Chemical", "Warfarin"), ("Disease", "bleeding"), ("Chemical", "Warfarin"), ("Chemical", "heparin"),
    ("Disease", "bleeding"), ("Disease", "Fractures of the hip and wrist"),
]  # fmt: skip

MARKED = {
    "bars.txt": ("conll", [("PROBLEM", "Severe headache"), ("TEST", "CT")]),
    "bigbio_kb.jsonl": ("bigbio", WARFARIN),
    "bigbio_kb_array.json": ("bigbio", WARFARIN),
    "bioc_bytes.xml": ("bioc-xml", DRUGS),
    "bioc_collection.json": ("bioc-json", DRUGS),
    "bioc_lines.jsonl": ("bioc-json", PAIN),
    "bioc_passages.xml": ("bioc-xml", DRUGS),
    "bioc_sentences.json": ("bioc-json", DRUGS),
    "bioc_sentences.xml": ("bioc-xml", DRUGS),
    "brat_bioc": ("brat", DRUGS),
    "brat_rich": (
        "brat",
        [("Finding", "left and right kidney stones"), ("Negation", "denies"), ("Finding", "chest pain"),
         ("Negation", "No"), ("Finding", "fever")],
    ),
    "brat_utf16": ("brat", [("Disease", "flu"), ("Symptom", "cough")]),
    "brat_windows": ("brat", [("Disease", "asthma"), ("Drug", "steroids"), ("Disease", "eczema")]),
    "conll2003.txt": ("conll", [("DRUG", "Aspirin"), ("SYMPTOM", "chest pain"), ("SYMPTOM", "fever")]),
    "conll_bare.txt": ("conll", [("", "APC2"), ("", "adenomatous polyposis coli")]),
    "conll_bilou.txt": ("conll", [("DIS", "Heart failure"), ("DIS", "gout")]),
    "conll_bioes.txt": ("conll", [("DIS", "Breast cancer"), ("DIS", "gout"), ("DIS", "acute renal failure")]),
    "conll_hash_token.txt": ("conll", [("SITE", "left rib"), ("TEST", "MRI")]),
    "conll_iob1.txt": (
        "conll", [("DIS", "Breast cancer"), ("DIS", "Hodgkin disease"), ("DIS", "lung cancer"), ("DIS", "gout")]
    ),
    "conll_packed.txt.gz": ("conll", [("SITE", "Milz")]),
    "conll_two_tabs.tsv": ("conll", [("Disease", "Type 2 diabetes")]),
    "conll_utf16.txt": ("conll", [("SITE", "Milz")]),
    "conllu.conllu": ("conll", [("DIS", "Acute gout")]),
    "doccano_annotations.json": ("doccano", [("7", "Ramipril")]),
    "doccano_entities.jsonl": (
        "doccano", [*COUGH, ("DRUG", "Losartan"), ("ADE", "cough"), ("ADE", "Rash")]
    ),
    "doccano_old.json": ("doccano", COUGH),
    "doccano_triples.jsonl": ("doccano", [*COUGH, ("ADE", "cough"), ("DRUG", "losartan")]),
    "label_studio.json": ("label-studio", [*COUGH, ("DRUG", "Losartan"), ("ADE", "cough")]),
    "label_studio_min.json": ("label-studio-min", COUGH),
    "label_studio_old.json": ("label-studio", [("DRUG", "Ramipril")]),
    "medline_columns.txt": ("conll", [("DNA", "IL-2 gene"), ("protein", "CD28"), ("protein", "NF-kappa B")]),
    "pubtator.txt": ("pubtator", DRUGS),
    "pubtator3_export.json": ("bioc-json", PAIN),
    "pubtator_cdr.txt": (
        "pubtator",
        [("Chemical", "Cocaine"), ("Disease", "chest pain"), ("Disease", "Tumors of the breast and ovary"),
         ("Chemical", "Cocaine"), ("Disease", "chest pain"), ("Chemical", "Lithium"), ("Disease", "tremor"),
         ("Chemical", "Lithium"), ("Disease", "Tremor")],
    ),
    "pubtator_crlf.txt": ("pubtator", [("Disease", "Gout")]),
    "standoff_columns.tsv": ("conll", [("Gene", "BRCA1 gene"), ("Gene", "TP53")]),
}  # fmt: skip
"""File -> its format, and the mentions that its rows must label, in order."""

ASKED = {
    "bigbio_qa_choice.json": ("bigbio-qa", ["OPTION B", "OPTION A", "a hormone"]),
    "bigbio_qa_yesno.jsonl": ("bigbio-qa", ["yes", "no"]),
    "medmcqa_hub.jsonl": ("medmcqa", ["OPTION C", "OPTION A", "OPTION D", "OPTION B"]),
    "medmcqa_release.json": ("medmcqa", ["OPTION C", "OPTION A", "OPTION D", "OPTION B"]),
    "medqa_five.jsonl": ("medqa", ["OPTION B", "OPTION E"]),
    "medqa_no_index.jsonl": ("medqa", ["OPTION A"]),
    "medqa_phrases.jsonl": ("medqa", ["OPTION B"]),
    "pubmedqa_ori.json": ("pubmedqa", ["yes", "maybe"]),
    "pubmedqa_unlabelled.json": ("pubmedqa", ["no"]),
}
"""File -> its format, and what the answers of its rows must end with."""
