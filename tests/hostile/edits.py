"""Changes of files of a base, an adapter or a run, each made on a copy."""

import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def as_json(name, **changes):
    """Return what lays values over a JSON file of a folder."""

    def change(folder, _scene):
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def edited(name, edit):
    """Return what hands the value of a JSON file over to be changed."""

    def change(folder, _scene):
        values = json.loads((folder / name).read_text())
        edit(values)
        (folder / name).write_text(json.dumps(values))

    return change


def put(name, content):
    """Return what writes a file: bytes or text, or what makes them of the scene."""

    def change(folder, scene):
        made = content(scene) if callable(content) else content
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(made if isinstance(made, bytes) else made.encode())

    return change


def removed(*names):
    return lambda folder, _scene: [(folder / name).unlink() for name in names]


def renamed(name, to):
    return lambda folder, _scene: (folder / name).rename(folder / to)


def linked(name, target):
    """Return what puts a link in the place of a file; ``target`` is a path, or None for the file itself, moved out."""

    def change(folder, scene):
        file = folder / name
        to = Path(target) if target else scene.folder / f"elsewhere-{file.name}"
        if file.exists() and target is None:
            file.rename(to)
        else:
            file.unlink(missing_ok=True)
        file.symlink_to(to)

    return change


def all_of(*changes):
    def change(folder, scene):
        for each in changes:
            each(folder, scene)

    return change


def header(name, edit):
    """Return what rewrites the header of a safetensors file; ``edit`` takes and returns a value, text or bytes."""

    def change(folder, _scene):
        file = folder / name
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        made = edit(json.loads(content[8 : 8 + length]))
        text = made if isinstance(made, bytes) else (made if isinstance(made, str) else json.dumps(made)).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return change


def entry(name, **changes):
    """Return what changes the header's first tensor."""

    def edit(values):
        first = next(key for key in sorted(values) if key != "__metadata__")
        values[first].update(changes)
        return values

    return header(name, edit)


def length(name, value):
    """Return what states another length of the header."""

    def change(folder, _scene):
        file = folder / name
        file.write_bytes(struct.pack("<Q", value) + file.read_bytes()[8:])

    return change


def tensors(name, edit):
    def change(folder, _scene):
        values = load_file(folder / name)
        edit(values)
        save_file({key: np.ascontiguousarray(value) for key, value in values.items()}, folder / name, {"format": "pt"})

    return change
