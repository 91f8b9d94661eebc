"""Rows, predictions and annotations that would grow, wait, run code, or speak in the place of the program."""

import json
import os
from functools import cache

import bombs
from laboratory import Case
from stock import lines, rows

ROW = json.dumps(rows()[0])
DEEP = 100_000
ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE collection [<!ENTITY a0 "ha">{ENTITIES}]>\n'


def read(make, code, says, *, name="rows.jsonl", **more):
    """Return a case that previews a file of rows."""

    def build(scene):
        content = make(scene) if callable(make) else make
        source = content if isinstance(content, os.PathLike) else scene.write(name, content)
        return [scene.spec(data={"source": str(source), "validation": None}), "-n", "1"]

    return Case("preview", build, code, says, **more)


def scored(make, code, says, *, name="answers.jsonl", **more):
    def build(scene):
        content = make(scene) if callable(make) else make
        return [content if isinstance(content, os.PathLike) else scene.write(name, content)]

    return Case("score", build, code, says, **more)


def imported(make, code, says, *, name="notes.txt", options=(), **more):
    def build(scene):
        content = make(scene) if callable(make) else make
        source = content if isinstance(content, os.PathLike) else scene.write(name, content)
        return [source, "--to", scene.folder / "to.jsonl", *options]

    return Case("import", build, code, says, **more)


def place(make, name="rows.jsonl"):
    """Return what lays out something else than a file."""

    def build(scene):
        path = scene.folder / name
        return make(path) or path

    return build


def sparse(path, size=1 << 30):
    with path.open("wb") as file:
        file.truncate(size)


def folder_of_odd_things(scene):
    folder = scene.folder / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(lines(rows()))
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "zero.jsonl").symlink_to("/dev/zero")
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "up").symlink_to("..")
    (folder / "gone.jsonl").symlink_to("nowhere")
    return folder


def named(name):
    def build(scene):
        file = scene.folder / "data" / name
        file.parent.mkdir(parents=True)
        file.write_text(lines(rows()))
        return file.parent

    return build


def with_row(**changes):
    return lines([*rows(), rows()[0] | changes])


def with_line(line):
    return lambda _scene: lines(rows()).encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n"


@cache
def table(kind, metadata=()):
    """Return rows as Parquet or Arrow, whose schema carries metadata."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    made = pa.Table.from_pylist(rows())
    made = made.replace_schema_metadata(dict(metadata))
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        parquet.write_table(made, sink)
    else:
        with ipc.new_file(sink, made.schema) as writer:
            writer.write_table(made)
    return sink.getvalue().to_pybytes()


def extension(kind):
    """Return a table whose column says that it is of a pickled type."""

    def make(scene):
        import pyarrow as pa
        from pyarrow import ipc, parquet

        meta = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bombs.pickled(scene)}
        values = rows()
        fields = [pa.field(name, pa.string(), metadata=meta if name == "input" else None) for name in values[0]]
        made = pa.Table.from_pylist(values, pa.schema(fields))
        sink = pa.BufferOutputStream()
        if kind == "parquet":
            parquet.write_table(made, sink)
        else:
            with ipc.new_file(sink, made.schema) as writer:
                writer.write_table(made)
        return sink.getvalue().to_pybytes()

    return make


@cache
def dictionary_bomb():
    """A Parquet file of one text of 8 MiB, 400 times by its number: 3 GiB as Python's texts or Arrow's."""
    import pyarrow as pa
    from pyarrow import parquet

    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), ["x" * (8 << 20)])
    made = pa.table({"instruction": texts, "output": pa.array(["y"] * 400)})
    sink = pa.BufferOutputStream()
    parquet.write_table(made, sink, compression="zstd", use_dictionary=True, store_schema=False)
    return sink.getvalue().to_pybytes()


@cache
def null_bomb():
    """A Parquet file of two thousand million nulls in a few bytes of runs."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    part = pa.table({"instruction": pa.nulls(1 << 20, pa.string())})
    with parquet.ParquetWriter(sink, part.schema, compression="zstd") as writer:
        for _ in range(64):
            writer.write_table(part)
    return sink.getvalue().to_pybytes()


def workbook(sheet, shared=""):
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    head = '<?xml version="1.0"?>'
    package = "http://schemas.openxmlformats.org/package/2006"
    return bombs.zipped(
        **{
            "[Content_Types]_xml": f'{head}<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
            f'"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
            f'ContentType="{kinds}.sheet.main+xml"/><Override PartName="/xl/s.xml" ContentType="{kinds}.worksheet+xml"/>'
            f'<Override PartName="/xl/t.xml" ContentType="{kinds}.sharedStrings+xml"/></Types>',
            "_rels/.rels": f'{head}<Relationships xmlns="{package}/relationships"><Relationship Id="a" '
            f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl__workbook_xml": f'{head}<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="s" '
            f'sheetId="1" r:id="a"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'{head}<Relationships xmlns="{package}/relationships"><Relationship Id="a" '
            f'Type="{relations}/worksheet" Target="s.xml"/><Relationship Id="b" Type="{relations}/sharedStrings" '
            'Target="t.xml"/></Relationships>',
            "xl__s_xml": sheet,
            "xl__t_xml": shared or f'{head}<sst xmlns="{main}"/>',
        }
    )


def sheet_of(cells, before=""):
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<?xml version="1.0"?>{before}<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'


def cell(text):
    return f'<c t="inlineStr"><is><t>{text}</t></is></c>'


LAUGHING_SHEET = sheet_of(
    f"<row>{cell('instruction')}{cell('output')}</row><row>{cell('&a11;')}{cell('y')}</row>",
    f'<!DOCTYPE worksheet [<!ENTITY a0 "ha">{ENTITIES}]>',
)
FILE_SHEET = sheet_of(
    f"<row>{cell('instruction')}{cell('output')}</row><row>{cell('&e;')}{cell('y')}</row>",
    '<!DOCTYPE worksheet [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
)
COMPRESSED = {
    "gzip of zeros": read(lambda _s: GZ(), 3, "", name="rows.jsonl.gz"),
    "gzip of one endless line": read(lambda _s: GZ_LINE(), 3, "", name="rows.jsonl.gz"),
    "gzip of one endless text": read(lambda _s: GZ_TEXT(), 3, "", name="rows.jsonl.gz"),
    "gzip of blank lines": read(lambda _s: GZ_BLANK(), 3, "", name="rows.jsonl.gz"),
    "gzip of zeros as an array": read(lambda _s: GZ(), 3, "", name="rows.json.gz"),
    "gzip of an endless array": read(lambda _s: GZ_ARRAY(), 3, "", name="rows.json.gz"),
    "gzip of a CSV without end of line": read(lambda _s: GZ(), 3, "", name="rows.csv.gz"),
    "gzip of a Parquet file": read(lambda _s: GZ(), 3, "", name="rows.parquet.gz"),
    "gzip of an Arrow file": read(lambda _s: GZ(), 3, "", name="rows.arrow.gz"),
    "gzip of a workbook": read(lambda _s: GZ(), 3, "", name="rows.xlsx.gz"),
    "zstd of zeros": read(lambda _s: ZST(), 3, "", name="rows.jsonl.zst"),
    "zstd of a Parquet file": read(lambda _s: ZST(), 3, "", name="rows.parquet.zst"),
    "gzip of predictions": scored(lambda _s: GZ(), 3, "", name="answers.jsonl.gz"),
    "zstd of predictions": scored(lambda _s: ZST(), 3, "", name="answers.jsonl.zst"),
    "gzip of columns": imported(lambda _s: GZ(), 3, "", name="notes.txt.gz", options=("--format", "conll")),
    "gzip of BioC": imported(lambda _s: GZ_XML(), 3, "", name="notes.xml.gz"),
    "gzip of PubTator": imported(lambda _s: GZ(), 3, "", name="notes.txt.gz", options=("--format", "pubtator")),
    "gzip of Label Studio": imported(lambda _s: GZ_ARRAY(), 3, "", name="notes.json.gz", options=("--format", "label-studio")),
    "bzip2": read(lambda _s: bombs.bz2_bomb(), 3, "known kind", name="rows.jsonl.bz2"),
    "xz": read(lambda _s: bombs.xz_bomb(), 3, "known kind", name="rows.jsonl.xz"),
    "zip": read(lambda _s: bombs.zipped(a="x" * (64 << 20)), 3, "known kind", name="rows.zip"),
    "gzip cut short": read(lambda _s: GZ()[:-9], 3, "", name="rows.jsonl.gz"),
    "Parquet of one repeated text": read(lambda _s: dictionary_bomb(), 3, "", name="rows.parquet"),
    "Parquet of nulls": read(lambda _s: null_bomb(), 3, "", name="rows.parquet"),
    "workbook of a large sheet": read(
        lambda _s: workbook(sheet_of(f"<row>{cell('instruction')}</row><row>{cell('x' * (300 << 20))}</row>")),
        3, "", name="rows.xlsx",
    ),
    "workbook of many cells": read(
        lambda _s: workbook(sheet_of("<row>" + cell("x") * 2_000_000 + "</row>")), 3, "", name="rows.xlsx"
    ),
    "workbook of large shared texts": read(
        lambda _s: workbook(sheet_of("<row/>"), "<sst>" + "<si><t>x</t></si>" * 5_000_000 + "</sst>"), 3, "",
        name="rows.xlsx",
    ),
}  # fmt: skip
GZ = cache(bombs.zeros_gz)
ZST = cache(bombs.zeros_zst)
GZ_LINE = cache(lambda: bombs.zeros_gz(b'{"instruction": "', b"x" * (1 << 20)))
GZ_TEXT = cache(lambda: bombs.zeros_gz(b'{"instruction": "x", "output": "', b"x" * (1 << 20), 600))
GZ_BLANK = cache(lambda: bombs.zeros_gz(b"", b"\n" * (1 << 20)))
GZ_ARRAY = cache(lambda: bombs.zeros_gz(b"[", b'"x",' * (1 << 18)))
GZ_XML = cache(lambda: bombs.zeros_gz(b"<?xml version='1.0'?><collection><document><id>", b"x" * (1 << 20)))
CODE = {
    "pickle called JSON Lines": read(bombs.pickled, 3, ""),
    "pickle called Parquet": read(bombs.pickled, 3, "not a whole Parquet", name="rows.parquet"),
    "pickle called Arrow": read(bombs.pickled, 3, "not a whole Arrow", name="rows.arrow"),
    "pickle called CSV": read(bombs.pickled, 3, "", name="rows.csv"),
    "pickle": read(bombs.pickled, 3, "known kind", name="rows.pkl"),
    "torch archive called a workbook": read(bombs.torch_archive, 3, "not a whole workbook", name="rows.xlsx"),
    "array of objects": read(bombs.object_array, 3, "known kind", name="rows.npy"),
    "Parquet of a pickled type": read(extension("parquet"), 0, "rows", name="rows.parquet"),
    "Arrow of a pickled type": read(extension("arrow"), 0, "rows", name="rows.arrow"),
    "Parquet with features that name code": read(
        lambda _s: table("parquet", ((b"huggingface", b'{"info": {"features": {"input": {"_type": "os.system"}}}}'),)),
        0, "rows", name="rows.parquet",
    ),
    "Parquet with features nested deeply": read(
        lambda _s: table("parquet", ((b"huggingface", b"[" * DEEP),)), 0, "rows", name="rows.parquet"
    ),
    "Arrow with pandas' metadata of code": read(
        lambda _s: table("arrow", ((b"pandas", b'{"columns": [{"numpy_type": "__import__(\'os\')"}]}'),)),
        0, "rows", name="rows.arrow",
    ),
    "folder with a loading script": read(
        lambda s: s.write("data/data.py", s.code).parent, 3, "no data file"
    ),
    "folder with a card that names a script": read(
        lambda s: s.write("data/rows.jsonl", lines(rows())) and s.write("data/README.md", "---\nconfigs: [{data_files: x.py}]\n---\n").parent,
        0, "rows",
    ),
    "predictions as a pickle": scored(bombs.pickled, 3, ""),
    "formula in a CSV": read(
        lambda _s: "instruction,input,output,source\n" + "=cmd|'/c calc'!A0,=1+1,@SUM(1),MedNLI\n" * 8, 0, "rows",
        name="rows.csv",
    ),
}  # fmt: skip
FORMS = {
    "line of half a gigabyte": read(place(lambda p: sparse(p, 512 << 20)), 3, ""),
    "JSON of half a gigabyte": read(place(lambda p: sparse(p, 512 << 20), "rows.json"), 3, "" ),
    "CSV of half a gigabyte": read(place(lambda p: sparse(p, 512 << 20), "rows.csv"), 3, ""),
    "lists nested deeply": read(with_line("[" * DEEP), 3, ""),
    "objects nested deeply": read(with_line('{"a":' * DEEP), 3, ""),
    "value nested deeply": read(with_line(ROW[:-1] + ', "a": ' + "[" * DEEP + "]" * DEEP + "}"), 3, ""),
    "JSON nested deeply": read("[" + ROW + ', {"a":' + "[" * DEEP, 3, "", name="rows.json"),
    "number of many digits": read(with_line(ROW[:-1] + ', "a": ' + "9" * 100_000 + "}"), 3, ""),
    "number beyond floats": read(with_line(ROW[:-1] + ', "a": 1e99999}'), 0, "rows"),
    "NaN as a text": read(with_row(output=float("nan")), 3, ""),
    "key twice": read(with_line(ROW[:-1] + ', "output": "Neutral"}'), 3, ""),
    "lone surrogate": read(with_line(ROW.replace("fever", "\\ud800")), 3, ""),
    "bytes that are no UTF-8": read(with_line(ROW.encode().replace(b"fever", b"\xff\xfe")), 3, ""),
    "NUL in a text": read(with_row(input="a\0b"), 3, "NUL"),
    "a hundred thousand columns": read(lambda _s: lines([rows()[0] | {f"c{n}": "" for n in range(100_000)}] * 2), 0, "rows"),
    "CSV of a hundred thousand columns": read("a," * 100_000 + "b\n" + "1," * 100_000 + "1\n", 3, "", name="rows.csv"),
    "CSV of an open quote": read('instruction,output\n"' + "x\n" * 1_000_000, 3, "", name="rows.csv"),
    "CSV of NUL": read("instruction,output\n\0,\0\n", 3, "", name="rows.csv"),
    "workbook of entities": read(lambda _s: workbook(LAUGHING_SHEET), 3, "", name="rows.xlsx"),
    "workbook that includes a file": read(lambda _s: workbook(FILE_SHEET), 3, "", name="rows.xlsx"),
    "Parquet cut short": read(lambda _s: table("parquet")[:-20], 3, "not a whole Parquet", name="rows.parquet"),
    "Parquet of a length beyond the file": read(
        lambda _s: table("parquet")[:-8] + b"\xff\xff\xff\x7fPAR1", 3, "not a whole Parquet", name="rows.parquet"
    ),
    "Arrow of flipped bytes": read(
        lambda _s: table("arrow")[:200] + b"\xff" * 64 + table("arrow")[264:], 0, "rows", name="rows.arrow"
    ),
    "task of a class": scored(lines([{"task": "__class__", "input": "x", "gold": "y", "prediction": "z"}] * 4), 3, ""),
    "predictions nested deeply": scored('{"task": ' + "[" * DEEP, 3, ""),
    "predictions of another shape": scored("[1, 2, 3]\n" * 10, 3, ""),
    "prediction of megabytes": scored(
        lambda _s: lines([{"task": "ner", "input": "fever helps", "gold": "fever : B\nhelps : O", "prediction": "fever : B\n" * 100_000}] * 2), 0, "ner"
    ),
    "prediction of brackets": scored(
        lambda _s: lines([{"task": "qa", "input": "x", "gold": "y", "prediction": "(" * 200_000}] * 2), 0, "qa"
    ),
    "prediction of one letter": scored(
        lambda _s: lines([{"task": "qa", "input": "x", "gold": "a" * 20_000, "prediction": "a" * 50_000 + "b"}] * 2), 0, "qa"
    ),
}  # fmt: skip
PLACES = {
    "FIFO": read(place(os.mkfifo), 3, "no data file"),
    "FIFO of predictions": scored(place(os.mkfifo), 3, "pipe|regular"),
    "FIFO of annotations": imported(place(os.mkfifo, "notes.txt"), 6, "pipe or device"),
    "/dev/zero": read(place(lambda p: p.symlink_to("/dev/zero")), 3, "no data file"),
    "/dev/zero of predictions": scored(place(lambda p: p.symlink_to("/dev/zero")), 3, "pipe|regular"),
    "/dev/zero of annotations": imported(place(lambda p: p.symlink_to("/dev/zero"), "notes.txt"), 6, "pipe or device"),
    "link to itself": read(place(lambda p: p.symlink_to(p.name)), 3, "no data file|cannot read"),
    "link to /etc/shadow": scored(place(lambda p: p.symlink_to("/etc/passwd")), 3, ""),
    "folder of pipes, devices and loops": read(folder_of_odd_things, 0, "rows"),
    "folder of folders without end": read(place(lambda p: (p.mkdir(), (p / "a").symlink_to(".."))[0], "data"), 3, "no data file"),
    "name with a line break": read(named("a\nb.jsonl"), 0, "rows"),
    "name with escapes": read(named("\x1b[31ma.jsonl"), 0, "rows"),
    "name of an option": read(named("-rf.jsonl"), 0, "rows"),
    "name of a command": read(named("$(id)`id`.jsonl"), 0, "rows"),
    "name of a format string": read(named("%s%n{0}.jsonl"), 0, "rows"),
    "name with a leading dot": read(named(".hidden.jsonl"), 3, "no data file"),
    "name of no UTF-8": read(named(os.fsdecode(b"\xff\xfe.jsonl")), 3, "rename"),
    "glob of everything": read(lambda s: s.folder / "**" / ("[" * 40 + "*"), 3, "no data file"),
    "URL of this machine": Case(
        "preview", lambda s: [s.spec(data={"source": f"{s.url}/rows.jsonl", "validation": None})], 3, "", locked=(2, "locked")
    ),
    "object store": Case(
        "preview", lambda s: [s.spec(data={"source": "s3://bucket/rows.jsonl", "validation": None})], 3, "", locked=(2, "locked")
    ),
    "file URL": Case("preview", lambda s: [s.spec(data={"source": "file:///etc/passwd", "validation": None})], 3, "", locked=(2, "locked")),
}  # fmt: skip
ANNOTATIONS = {
    "BioC of billion laughs": imported(f"{LAUGHS}<collection><document><id>&a11;</id></document></collection>", 3, "entities", name="x.xml"),
    "BioC of a file": imported(
        '<?xml version="1.0"?><!DOCTYPE collection [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
        "<collection><document><id>&e;</id></document></collection>", 3, "entities", name="x.xml",
    ),
    "BioC of a URL": imported(
        lambda s: f'<?xml version="1.0"?><!DOCTYPE collection [<!ENTITY e SYSTEM "{s.url}/x">]>'
        "<collection><document><id>&e;</id></document></collection>", 3, "entities", name="x.xml",
    ),
    "BioC of a parameter entity": imported(
        lambda s: f'<?xml version="1.0"?><!DOCTYPE collection [<!ENTITY % e SYSTEM "{s.url}/x.dtd"> %e;]>'
        "<collection><document><id>1</id></document></collection>", 3, "entities", name="x.xml",
    ),
    "BioC of a DTD elsewhere": imported(
        lambda s: f'<?xml version="1.0"?><!DOCTYPE collection SYSTEM "{s.url}/BioC.dtd"><collection><source>s</source>'
        "<document><id>1</id><passage><offset>0</offset><text>Fever helps.</text><annotation id='1'><infon key='type'>D"
        "</infon><location offset='0' length='5'/><text>Fever</text></annotation></passage></document></collection>",
        0, "rows", name="x.xml",
    ),
    "BioC nested deeply": imported("<collection><document>" + "<passage>" * DEEP, 3, "deeper", name="x.xml"),
    "BioC of one attribute without end": imported("<collection a='" + "x" * (64 << 20), 3, "", name="x.xml"),
    "BioC in an unknown encoding": imported('<?xml version="1.0" encoding="os.system"?><collection/>', 3, "", name="x.xml"),
    "BioC JSON nested deeply": imported('{"documents": ' + "[" * DEEP, 3, "", name="x.json"),
    "doccano of offsets beyond the text": imported(
        lines([{"id": 1, "text": "Fever.", "label": [[0, 10**18, "D"], [-5, 3, "D"], [3, 1, "D"]]}] * 4), 3, "", name="x.jsonl"
    ),
    "Label Studio of another shape": imported('[{"data": [], "annotations": [{"result": [{"value": 7}]}]}]', 3, "", name="x.json"),
    "PubTator of offsets beyond the text": imported(
        "1|t|Fever helps.\n1|a|It does.\n1\t0\t99999999999999999999\tFever\tDisease\tD1\n", 3, "", name="x.txt"
    ),
    "CoNLL of one line without end": imported("x" * (64 << 20), 3, ""),
    "CoNLL of one sentence without end": imported("fever\tB-D\n" * 400_000, 0, "rows", options=("--format", "conll")),
    "BRAT of overlapping loops": imported(
        lambda s: s.write("brat/a.txt", "Fever helps.") and s.write(
            "brat/a.ann", "T1\tD 0 5\tFever\nR1\tX Arg1:R1 Arg2:R1\nE1\tE1:E1 A:E1\nT2\tD 0 5;0 5;0 5\tFever\n"
        ).parent, 0, "rows",
    ),
    "BRAT of a link out": imported(
        lambda s: [(s.folder / "brat").mkdir(), (s.folder / "brat/a.txt").symlink_to("/etc/passwd"),
                   s.write("brat/a.ann", "T1\tD 0 4\troot\n").parent][2], 0, "",
    ),
    "rows written over a pipe": Case("import", lambda s: [s.write("n.txt", "a\tB-D\n\n"), "--to", pipe(s), "--format", "conll"], 6, ""),
    "rows written over a folder": Case("import", lambda s: [s.write("n.txt", "a\tB-D\n\n"), "--to", s.folder, "--format", "conll"], 2, "is a folder"),
    "rows written through a link": Case(
        "import", lambda s: [s.write("n.txt", "a\tB-D\n\n"), "--to", linked_out(s), "--format", "conll"], 6, "link"
    ),
}  # fmt: skip


def pipe(scene):
    path = scene.folder / "to.jsonl"
    os.mkfifo(path)
    return path


def linked_out(scene):
    """Return a link to a file of somebody else."""
    target, link = scene.folder / "precious.txt", scene.folder / "to.jsonl"
    target.write_text("precious")
    link.symlink_to(target)
    return link


CASES = {
    "data: compressed": COMPRESSED,
    "data: code": CODE,
    "data: form": FORMS,
    "data: place": PLACES,
    "data: annotations": ANNOTATIONS,
}
