"""Which folders other machines write to as well."""

from pathlib import Path

__all__ = ["is_network"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "panfs",
     "smb3", "smbfs", "wekafs"}
)  # fmt: skip
_USER = "fuse."
"""Of file systems that a program of the user's serves: where such a one keeps its files nobody here can tell."""


def is_network(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether a folder lies on a file system of a network, as the kernel names it; where it says nothing, it does not.

    Args:
        folder: there or not yet.
        mounts: the kernel's table of what is mounted.
    """
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    place, kind, longest = folder.resolve(), "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].replace("\\040", " "))
        depth = len(point.parts)
        if depth >= longest and (
            place == point or point in place.parents
        ):  # of two at one place the later hides the other
            kind, longest = after.split(" ")[0], depth
    return kind in _NETWORK or kind.startswith(_USER)
