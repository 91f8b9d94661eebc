"""What is fetched of a repository is pinned, whole by its hash, resumed, private where it is data, and asked for once."""

import hashlib
import time

import pytest
from base_repository import COMMIT, FILES, IMPATIENT, OLDER, SHARD

from medtune.data.hub.download import Listener
from medtune.data.hub.models import described, loadable, repository_of
from medtune.errors import CorruptDownloadError, HubUnreachableError
from medtune.specs import ModelSpec
from medtune.testing.hub import pointed_at
from medtune.testing.hub_contents import Fault

PINNED = ModelSpec(name="org/base", revision=COMMIT)
WEIGHTS = {"model-1.safetensors", "model-2.safetensors"}


def blob_of(name):
    return (repository_of(PINNED).snapshot / name).resolve()


def paths_of(hub, host="hub"):
    return [each.path for each in hub.asked if each.host == host]


def test_only_what_is_needed_is_asked_for_and_only_at_one_commit(asking, listener):
    folder = loadable(ModelSpec(name="org/base"), listener)
    assert {file.name for file in folder.iterdir()} == set(FILES) - {
        "pytorch_model.bin",
        "original/consolidated.safetensors",
    }
    assert (folder / "model-1.safetensors").read_bytes() == FILES["model-1.safetensors"]
    first, *others = paths_of(asking)
    assert first == "/api/models/org/base"  # which commit main is at
    assert all(COMMIT in path for path in others)
    assert len(paths_of(asking, "cdn")) == 2


def test_the_token_goes_to_the_hub_and_never_to_the_content_network(hub, tmp_path, listener):
    with pointed_at(hub, tmp_path, token="hf_member"):
        loadable(PINNED, listener)
    assert {(each.host, each.token) for each in hub.asked} == {("hub", True), ("cdn", False)}


def test_what_is_cached_at_a_commit_costs_no_request(asking, listener):
    loadable(PINNED, listener)
    asking.asked.clear()
    assert loadable(PINNED, listener) == loadable(PINNED, listener)
    assert asking.asked == []


def test_a_branch_costs_one_request_and_none_without_a_connection(asking, listener, tmp_path, told):
    loadable(ModelSpec(name="org/base"), listener)
    asking.asked.clear()
    loadable(ModelSpec(name="org/base"), listener)
    assert paths_of(asking) == ["/api/models/org/base"]
    with pointed_at(asking, tmp_path, offline=True):
        loadable(ModelSpec(name="org/base"), listener)
    assert told[-1].endswith("taking cccccccccccc, which is cached")


def test_another_commit_is_another_folder(asking, listener):
    assert loadable(PINNED, listener).name == COMMIT
    assert loadable(ModelSpec(name="org/base", revision=OLDER), listener).name == OLDER
    assert len(paths_of(asking, "cdn")) == 2  # the same bytes are not fetched twice


def test_a_transfer_that_is_cut_off_goes_on_where_it_was(asking, listener, told):
    asking.faults.append(Fault("cdn .*model-1", times=1, cut_at=20_000))
    loadable(PINNED, listener)
    assert blob_of("model-1.safetensors").read_bytes() == FILES["model-1.safetensors"]
    parts = [each.range for each in asking.asked if each.host == "cdn" and "model-1" in each.path]
    assert parts == ["", "bytes=20000-"]
    assert "fetching 'model-1.safetensors'" in " ".join(told)


def test_another_process_goes_on_with_what_one_that_was_killed_left(asking, listener):
    described(PINNED, listener)
    blobs = repository_of(PINNED).cache / "blobs"
    digest = hashlib.sha256(FILES["model-1.safetensors"]).hexdigest()
    (blobs / f"{digest}.medtune-partial").write_bytes(SHARD[:40_000])
    loadable(PINNED, listener)
    assert "bytes=40000-" in [each.range for each in asking.asked]
    assert not list(blobs.glob("*-partial"))


def test_a_server_that_ignores_ranges_sends_the_file_anew(asking, listener):
    asking.faults += [
        Fault("cdn .*model-1", times=1, cut_at=20_000),
        Fault("cdn .*model-1", times=1, ignores_range=True),
    ]
    loadable(PINNED, listener)
    assert blob_of("model-1.safetensors").read_bytes() == FILES["model-1.safetensors"]


def test_one_corrupt_transfer_is_made_up_for(asking, listener, told):
    asking.faults.append(Fault("cdn .*model-1", times=1, flip=50_000))
    loadable(PINNED, listener)
    assert blob_of("model-1.safetensors").read_bytes() == FILES["model-1.safetensors"]
    assert "'model-1.safetensors' of 'org/base' came corrupt; it is fetched once more" in told


def test_a_file_that_another_program_cached_corrupt_is_fetched_anew(asking, listener, told):
    loadable(PINNED, listener)
    flip(blob_of("model-1.safetensors"))
    asking.asked.clear()
    loadable(PINNED, listener)
    assert blob_of("model-1.safetensors").read_bytes() == FILES["model-1.safetensors"]
    assert len(paths_of(asking, "cdn")) == 1
    assert "'model-1.safetensors' of 'org/base' is corrupt in the cache; it is fetched anew" in told


def test_a_corrupt_file_is_refused_where_it_cannot_be_fetched_anew(asking, listener, tmp_path):
    loadable(PINNED, listener)
    flip(blob_of("config.json"))
    with (
        pointed_at(asking, tmp_path, offline=True),
        pytest.raises(CorruptDownloadError, match=r"'config\.json'.*cache"),
    ):
        described(PINNED, listener)


def test_a_cache_that_another_program_filled_is_enough_without_a_connection(asking, listener, tmp_path):
    loadable(PINNED, listener)
    for file in (repository_of(PINNED).own).iterdir():
        file.unlink()
    with pointed_at(asking, tmp_path, offline=True):
        assert loadable(PINNED, listener) == repository_of(PINNED).snapshot
    (repository_of(PINNED).snapshot / "model-2.safetensors").unlink()
    (repository_of(PINNED).own / "checked.json").unlink()
    with (
        pointed_at(asking, tmp_path, offline=True),
        pytest.raises(HubUnreachableError, match=r"'org/base' lacks 'model-2.safetensors' in the local cache"),
    ):
        loadable(PINNED, listener)


def test_nothing_cached_and_no_connection_is_one_sentence(hub, tmp_path, listener):
    with (
        pointed_at(hub, tmp_path, offline=True),
        pytest.raises(
            HubUnreachableError, match=r"'org/base' is not in the local cache and HF_HUB_OFFLINE.*model\.path"
        ),
    ):
        described(PINNED, listener)
    assert hub.asked == []


def test_a_download_tells_its_size_and_how_far_it_is(asking, told):
    seen = []
    asking.faults.append(Fault("cdn ", slow=0.05))
    loadable(PINNED, Listener(told.append, seen.append, IMPATIENT))
    assert "fetching 2 files, 131 kB, of model 'org/base' at cccccccccccc" in told
    assert seen[-1].done == seen[-1].total == sum(len(FILES[name]) for name in WEIGHTS)
    assert any(0 < each.done < each.total and each.seconds_left > 0 for each in seen)


def test_an_interruption_ends_a_download_at_once_and_what_came_is_kept(asking):
    asking.faults.append(Fault("cdn .*model-1", slow=0.2))

    def stop(progress):
        if progress.done > 1000:
            raise KeyboardInterrupt

    described(PINNED)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loadable(PINNED, Listener(progress=stop))
    assert time.monotonic() - began < 2
    kept = list((repository_of(PINNED).cache / "blobs").glob("*-partial"))
    asking.faults.clear()
    loadable(PINNED)
    assert kept


def flip(blob):
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
