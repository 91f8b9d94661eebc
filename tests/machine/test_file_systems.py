"""Whether a folder is shared is read from the kernel's table."""

from pathlib import Path

import pytest

from medtune.machine.file_systems import is_network

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:40 / /home rw shared:2 - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/own\\040disk rw - xfs /dev/vdb rw
42 22 0:42 / /data rw - ext4 /dev/vdc rw
43 22 0:43 / /data rw - lustre mgs:/data rw
44 22 0:44 / /drive rw - fuse.sshfs host:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        ("/var/cache", False),
        ("/home/anna/.cache/medtune", True),
        ("/home/own disk/cache", False),
        ("/homework", False),
        ("/data/cache", True),
        ("/drive/cache", True),
    ],
)
def test_the_innermost_mount_tells(folder, network, tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert is_network(Path(folder), table) is network


def test_no_table_tells_nothing(tmp_path):
    assert is_network(tmp_path, tmp_path / "none") is False


def test_this_machine_has_one():
    assert is_network(Path("/proc/self")) is False
