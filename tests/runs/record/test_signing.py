"""A signature holds for the state that was signed, by the key that signed it, and for nothing else."""

import json
import shutil
import stat

import pytest

from medtune.errors import DamagedArtifactError, SpecError, StorageError
from medtune.runs.folder import RunFolder
from medtune.runs.record.chain import Change, append, read_chain
from medtune.runs.record.keys import PASSPHRASE, fingerprint, generate_key, private_key, public_key
from medtune.runs.record.recording import recorded
from medtune.runs.record.signing import sign_record, signatures_in
from medtune.runs.record.tree import Entry
from medtune.runs.record.writers import Mark
from medtune.runs.verification import sign_run, verify_all
from medtune.testing.recorded_run import recorded_run
from medtune.testing.tampering import reseal


def checked(run, key):
    return verify_all(RunFolder(run), key)


def the_problem(run, key):
    (problem,) = checked(run, key).problems
    return problem.kind, problem.detail


def test_a_signed_run_verifies_by_the_public_key(run, public):
    found = checked(run, public)
    assert (found.state, found.signature.steps_after) == ("whole", ())
    assert found.to_json()["signature"]["valid"]
    assert found.signature.signed["number"] == len(read_chain(run).lines) - 2


def test_a_run_that_nobody_signed_is_told(tmp_path, public):
    recorded_run(tmp_path, {})
    assert the_problem(tmp_path / "run", public) == (
        "unsigned",
        f"holds no signature by key {checked(tmp_path / 'run', public).signature.key[:16]}",
    )


def test_another_key_is_told(run, tmp_path):
    other = generate_key(tmp_path / "other")
    kind, detail = the_problem(run, other)
    assert (kind, "it holds 1 by other keys" in detail) == ("unsigned", True)


def test_an_older_state_is_told_with_the_steps_that_came_after(run, public, key):
    for text in ("one", "two"):
        with recorded(run, "report", ("report.html",)):
            (run / "report.html").write_text(text)
    kind, detail = the_problem(run, public)
    assert (kind, "2 steps came after it (report, report)" in detail) == ("older", True)
    sign_run(RunFolder(run), key)
    assert (checked(run, public).state, len(signatures_in(run))) == ("whole", 2)


def test_several_keys_may_sign_one_state(run, public, tmp_path):
    second = generate_key(tmp_path / "second")
    sign_run(RunFolder(run), tmp_path / "second")
    assert [checked(run, each).state for each in (public, second)] == ["whole", "whole"]


def test_a_forger_who_computes_everything_anew_is_found_by_the_key_only(run, public):
    (run / "evaluation" / "tuned.json").write_text('{"score": 1.0}\n')
    reseal(run)
    assert checked(run, None).state == "whole"
    assert the_problem(run, public)[0] == "forged"


def test_a_record_that_was_cut_back_below_the_signed_line_is_found(run, public):
    lines = (run / "record.jsonl").read_bytes().splitlines(keepends=True)
    (run / "record.jsonl").write_bytes(b"".join(lines[:-3]))
    assert "signs another line" in " ".join(problem.detail for problem in checked(run, public).problems)


def test_a_run_that_was_put_back_to_the_signed_state_is_what_was_signed(run, public):
    """Which state is the latest only who keeps its head can say; the signature says which one was signed."""
    copy = shutil.copytree(run, run.with_name("before"))
    with recorded(run, "report", ("report.html",)):
        (run / "report.html").write_text("later")
    assert checked(run, public).exit_code == 4
    assert checked(copy, public).exit_code == 0


def test_the_signature_of_another_run_is_told(run, other, public):
    shutil.copy(other / "signature.json", run / "signature.json")
    append(run, "", Change("sign", {"signature.json": entry_of(run / "signature.json")}))
    assert the_problem(run, public) == ("swapped", "is the signature of another run")


def entry_of(path):
    from medtune.runs.manifest import file_digest

    return Entry(path.stat().st_size, file_digest(path))


@pytest.mark.parametrize("part", ["head", "root", "run_id", "time", "number", "signature", "key"])
def test_no_part_of_a_signature_can_be_edited(run, public, part):
    values = json.loads((run / "signature.json").read_text())
    old = values["signatures"][0][part]
    values["signatures"][0][part] = 0 if part == "number" else "A" + old[1:] if old[0] != "A" else "B" + old[1:]
    (run / "signature.json").write_text(json.dumps(values))
    reseal(run)
    assert the_problem(run, public)[0] == ("unsigned" if part == "key" else "forged")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 1, "signatures": [1]}', '{"format": 2, "signatures": []}', "\x00"]
)
def test_a_file_that_holds_no_signatures_is_told(run, public, key, text):
    (run / "signature.json").write_text(text)
    reseal(run)
    assert the_problem(run, public)[0] == "forged"
    with pytest.raises(DamagedArtifactError, match="signatures"):
        sign_record(run, key)


def test_what_does_not_verify_is_not_signed(run, key):
    (run / "report.html").write_text("edited")
    with pytest.raises(DamagedArtifactError, match=r"report\.html"):
        sign_run(RunFolder(run), key)
    assert len(signatures_in(run)) == 1


def test_what_is_being_written_is_not_signed(run, key):
    with recorded(run, "report", ("report.html",)):
        (run / "report.html").write_text("half")
        with pytest.raises(StorageError, match="nothing was signed"):
            sign_run(RunFolder(run), key)


def test_a_run_of_an_earlier_medtune_has_nothing_to_sign(tmp_path, key):
    folder = RunFolder(tmp_path)
    folder.create({}, {}, {})
    with pytest.raises(SpecError, match="keeps no record that could be signed"):
        sign_run(folder, key)


def test_a_private_key_is_for_its_owner_only_and_never_replaced(tmp_path):
    public = generate_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert fingerprint(private_key(tmp_path / "key").public_key()) == fingerprint(public_key(public))
    with pytest.raises(SpecError, match="is there already; a key is never replaced"):
        generate_key(tmp_path / "key")


def test_a_passphrase_comes_from_the_environment_or_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv(PASSPHRASE, raising=False)
    generate_key(tmp_path / "key", "open sesame")
    assert private_key(tmp_path / "key", lambda: "open sesame")
    with pytest.raises(SpecError, match=f"has a passphrase; set {PASSPHRASE}"):
        private_key(tmp_path / "key")
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    assert private_key(tmp_path / "key")
    monkeypatch.setenv(PASSPHRASE, "a wrong one")
    with pytest.raises(SpecError, match="or its passphrase is another") as caught:
        private_key(tmp_path / "key")
    assert "a wrong one" not in str(caught.value)


def test_a_private_key_that_everybody_can_read_is_refused(tmp_path):
    generate_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SpecError, match="can be used by everybody on this machine: chmod 600"):
        private_key(tmp_path / "key")


def test_a_signature_over_files_that_nobody_saw_being_written_says_so(run, key):
    mark = Mark(run, "report", ("report.html",))
    mark._lock.release()
    (run / "report.html").write_text("left by a killed command")
    with recorded(run, "evaluate", ("evaluation/",)):
        pass
    assert "cut short before it recorded 'report.html'" in sign_run(RunFolder(run), key)["unchecked"][0]


def test_a_key_of_another_kind_is_refused(tmp_path, public, key):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    secret = generate_private_key(SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "ec").write_bytes(secret.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    (tmp_path / "text").write_text("no key")
    for name in ("ec", "text"):
        (tmp_path / name).chmod(0o600)
    for path, reading, told in [
        (tmp_path / "ec", private_key, "is no ed25519 key"),
        (tmp_path / "text", private_key, "is no private key in PEM form"),
        (tmp_path / "text", public_key, "is no public key in PEM form"),
        (key, public_key, "is a private key; give the public one"),
    ]:
        with pytest.raises(SpecError, match=told):
            reading(path)
    with pytest.raises(StorageError, match="is no file"):
        public_key(tmp_path)


def test_openssl_makes_keys_that_sign(run, tmp_path):
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    place, public = str(tmp_path / "key"), str(tmp_path / "key.pub")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", place], check=True)  # noqa: S607
    subprocess.run(["openssl", "pkey", "-in", place, "-pubout", "-out", public], check=True)  # noqa: S607
    sign_run(RunFolder(run), tmp_path / "key")
    assert checked(run, tmp_path / "key.pub").state == "whole"


def test_what_changes_while_the_passphrase_is_typed_is_verified_before_it_is_signed(run, tmp_path, monkeypatch):
    monkeypatch.delenv(PASSPHRASE, raising=False)
    generate_key(tmp_path / "locked", "open sesame")

    def typed():
        (run / "report.html").write_text("edited")
        return "open sesame"

    with pytest.raises(DamagedArtifactError, match=r"report\.html"):
        sign_run(RunFolder(run), tmp_path / "locked", typed)
    assert len(signatures_in(run)) == 1


def test_only_the_record_that_was_verified_is_signed(run, key):
    def verify():
        chain = read_chain(run)
        with recorded(run, "report", ("report.html",)):
            (run / "report.html").write_text("another")
        return chain

    with pytest.raises(StorageError, match="was changed while it was verified"):
        sign_record(run, key, verify=verify)
    assert len(signatures_in(run)) == 1
