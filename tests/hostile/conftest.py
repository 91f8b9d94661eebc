"""The laboratory of hostile cases, started once."""

import pytest
from laboratory import open_laboratory


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory):
    found = open_laboratory(tmp_path_factory.mktemp("laboratory"))
    yield found
    found.close()
