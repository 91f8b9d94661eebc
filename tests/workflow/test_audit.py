"""An audit finds what was planted in an adapter that learnt by heart, and nothing in one that never saw the rows."""

import json
import shutil
import stat
from dataclasses import replace

import pytest
from audited import learning_base, rows_file, trained

from medtune import MedTuner, Run, adopt, hookimpl
from medtune.cli.app import run as command
from medtune.data.canaries import canaries_of, is_canary
from medtune.errors import DataError, SpecError
from medtune.planning.make_plan import make_plan
from medtune.runs.folder import RunFolder
from medtune.workflow.audit.audit import AuditRequest, run_audit
from medtune.workflow.audit.rows import compared_rows
from medtune.workflow.baselines.request import BaselineRequest, shared_rows
from medtune.workflow.kept_adapter import keep_adapter
from medtune.workflow.state import RunRequest

CANARIES = {"count": 4, "repeats": [16]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    learning_base(folder / "base")
    return folder


@pytest.fixture(scope="module")
def leaky(place):
    """A run that was trained until it knew its rows by heart."""
    rows = rows_file(place, 24)
    return trained(place / "base", rows, place / "leaky", epochs=20, weight=4, canaries=CANARIES)


@pytest.fixture(scope="module")
def found(leaky):
    return leaky.audit(candidates=64)


@pytest.fixture(scope="module")
def other(place):
    """A run on other rows of the same kind."""
    return trained(place / "base", rows_file(place, 24, seed=1), place / "other", epochs=2, weight=4)


@pytest.fixture
def copied(leaky, found, tmp_path):
    return Run.open(shutil.copytree(leaky.path, tmp_path / "run"))


def request_of(run, **changes):
    spec = changes.pop("spec", run.spec)
    return AuditRequest(run._folder, run._record, spec, changes.pop("host", run.host), lambda: run.loaded, **changes)


def groups(found):
    return {group["repeats"]: group for group in found["canaries"]["groups"]}


def test_every_planted_secret_is_found_and_none_that_was_never_planted(found):
    by_repeats = groups(found)
    assert by_repeats.keys() == {0, 16}
    assert by_repeats[16]["tuned"]["found"] == by_repeats[16]["canaries"] == 4
    assert by_repeats[0]["tuned"]["found"] == 0
    assert by_repeats[0]["canaries"] == 20
    assert by_repeats[16]["base"]["found"] == by_repeats[0]["base"]["found"] == 0
    assert by_repeats[16]["tuned"]["exposure"]["least"] > 12 > by_repeats[16]["base"]["exposure"]["most"]


def test_rows_learnt_by_heart_are_told_from_held_out_ones_which_the_base_cannot(found):
    whole = found["membership"]["all"]
    assert whole["members"] == whole["held_out"] == 12
    strongest = whole["attacks"][whole["strongest"]]
    assert strongest["auc"] == max(attack["auc"] for attack in whole["attacks"].values()) > 0.9
    assert strongest["interval"][0] > 0.5
    assert whole["base"]["interval"][0] < 0.5 < whole["base"]["interval"][1]
    assert found["membership"]["sources"] == {"ward": whole}
    assert found["membership"]["not_finite"] == 0
    assert found["remembers"]["membership"]


def test_nothing_is_found_in_an_adapter_that_was_trained_on_other_rows(copied, other):
    found = run_audit(replace(request_of(copied, candidates=64), loaded=lambda: other.loaded))
    for attack in found["membership"]["all"]["attacks"].values():
        assert attack["interval"][0] <= 0.5 <= attack["interval"][1]
    assert groups(found)[16]["tuned"]["found"] == 0
    assert groups(found)[16]["tuned"]["exposure"]["median"] < 6
    assert found["verbatim"]["tuned"]["copied"] == 0
    assert found["remembers"] == {"canaries": False, "verbatim": False, "membership": False}
    assert any("cannot be told beyond chance" in sentence for sentence in found["findings"])


def test_an_adapter_that_is_kept_leaves_no_audit_of_the_one_before(other, tmp_path):
    folder = RunFolder(shutil.copytree(other.path, tmp_path / "run"))
    folder.evaluation_dir.mkdir(exist_ok=True)
    (folder.evaluation_dir / "audit.json").write_text("{}")
    asked = RunRequest(
        other.spec.model_copy_with(output_dir=str(folder.path)), other.host, make_plan(other.spec, other.host)
    )
    keep_adapter(asked, lambda staged: shutil.copytree(other.adapter_dir, staged, dirs_exist_ok=True))
    assert not (folder.evaluation_dir / "audit.json").exists()


def test_the_run_says_everywhere_that_it_holds_canaries(leaky, found):
    leaky.report()
    record = json.loads((leaky.path / "run.json").read_text())
    page, card = (leaky.path / "report.html").read_text(), (leaky.adapter_dir / "README.md").read_text()
    sentence = "4 made-up access codes of made-up patients in 64 training rows"
    plan = MedTuner(leaky.spec).plan()
    assert any(sentence in line for line in plan.lines())
    for text in (page, card, record["plan"]["canaries"], plan.canaries):
        assert sentence in text
    assert record["preparation"]["canaries"]["planted"] == 4
    assert 'href="#audit"' in page


def test_figures_are_kept_and_told_without_a_text_of_any_row(leaky, found, place):
    leaky.report()
    kept = (leaky.path / "evaluation" / "audit.json").read_text()
    page, card = (leaky.path / "report.html").read_text(), (leaky.adapter_dir / "README.md").read_text()
    assert json.loads(kept) == found
    for sentence in [*found["findings"], found["tried"], found["limits"]]:
        assert sentence in card
    assert card.count("## What the adapter remembers") == card.count("## Terms of model and data") == 1
    canaries = canaries_of(leaky.spec.data.canaries, leaky.spec.seed)
    answers = [json.loads(line)["output"] for line in (place / "rows-0.jsonl").read_text().splitlines()]
    texts = [*answers, *(each.name for each in canaries), *(each.secret for each in canaries)]
    log = (leaky.path / "log.jsonl").read_text() + (leaky.path / "run.json").read_text()
    assert [text for text in texts if text in kept + page + card + log] == []


def test_only_the_owner_reads_the_secrets_that_were_planted(leaky):
    file = leaky.path / "canaries.jsonl"
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    planted = canaries_of(leaky.spec.data.canaries, leaky.spec.seed)
    assert [(line["row_id"], line["secret"]) for line in kept] == [(each.row_id, each.secret) for each in planted]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_adapter_is_still_the_one_of_the_run_and_a_second_audit_takes_the_place_of_the_first(copied, found):
    assert [checked.problem for checked in copied.verify()] == [""]
    again = copied.audit(candidates=64)
    assert again == found
    assert [checked.problem for checked in Run.open(copied.path).verify()] == [""]
    assert (copied.adapter_dir / "README.md").read_text().count("## What the adapter remembers") == 1


def test_the_command_says_what_was_tried_found_and_not_shown(copied, capsys):
    assert command(["audit", str(copied.path), "--rows", "5", "--candidates", "32"]) == 0
    told = capsys.readouterr().out
    assert "Three things were tried" in told
    assert "Canaries: of 4 made-up secrets that stood 16 times" in told
    assert "Membership: of 5 training rows and 5 held-out rows" in told
    assert "There are too few rows for an interval." in told
    assert "no proof that nothing is remembered" in told


def test_rows_of_both_sides_are_apart_and_equally_many_of_each_source(leaky):
    compared = compared_rows(request_of(leaky, rows_per_source=8))
    units = [{row.unit for row in side} for side in (compared.members, compared.outsiders)]
    assert [len(side) for side in units] == [8, 8]
    assert units[0].isdisjoint(units[1])
    assert all(row.answer[-1] in leaky.loaded.stop_ids for row in [*compared.members, *compared.outsiders])


def test_other_rows_than_those_of_the_run_are_refused(copied, place):
    rows = place / "rows-0.jsonl"
    before = rows.read_text()
    rows.write_text(before.replace("fever", "fevers"))
    try:
        with pytest.raises(DataError, match="the training rows are no longer those of run"):
            copied.audit()
    finally:
        rows.write_text(before)


def test_an_adapter_that_was_trained_elsewhere_has_no_known_rows(leaky):
    elsewhere = replace(request_of(leaky), record={**leaky._record, "adopted": {}})
    with pytest.raises(DataError, match="trained elsewhere, on rows that are not known"):
        run_audit(elsewhere)


def test_canaries_are_not_planted_in_an_adapter_that_is_trained_already(leaky, tmp_path):
    spec = leaky.spec.model_copy_with(output_dir=str(tmp_path / "adopted"))
    with pytest.raises(SpecError, match=r"data\.canaries plants secrets among the rows of a training"):
        adopt(leaky.adapter_dir, spec)


def test_a_generator_that_gives_no_probabilities_cannot_be_audited(leaky):
    class Mute:
        name = "mute"

        def generate(self, loaded, requests, spec):
            raise NotImplementedError

    class Plugin:
        @hookimpl
        def provide_generators(self):
            return [Mute()]

    spec = leaky.spec.model_copy_with(eval=leaky.spec.eval.model_copy_with(backend="mute"))
    with pytest.raises(SpecError, match=r"eval\.backend 'mute' gives no log-probabilities"):
        run_audit(request_of(leaky, spec=spec, host=leaky.host.extended(Plugin())))


@pytest.mark.parametrize("wrong", [{"rows_per_source": 0}, {"candidates": 31}, {"candidates": 100_001}])
def test_an_audit_of_nothing_is_refused(leaky, wrong):
    with pytest.raises(SpecError):
        leaky.audit(**wrong)


def test_no_baseline_learns_from_canaries(leaky):
    request = BaselineRequest(leaky._folder, leaky._record, leaky.spec, leaky.host, lambda: leaky.loaded, simple=True)
    trained_on = shared_rows(request).trained
    assert len(trained_on) == 12 * 4
    assert not any(map(is_canary, trained_on))


@pytest.mark.proof
def test_canaries_of_one_four_and_sixteen_repeats_in_one_table(place):
    rows, canaries = rows_file(place, 240, seed=2), {"count": 20, "repeats": [1, 4, 16]}
    run = trained(place / "base", rows, place / "table", epochs=18, canaries=canaries, per_device_batch_size=4)
    found = run.audit()
    print(json.dumps(found["canaries"]))
    by_repeats = [groups(found)[times]["tuned"]["found"] for times in (0, 1, 4, 16)]
    assert by_repeats == sorted(by_repeats)
    assert by_repeats[0] == 0
    assert by_repeats[-1] == 20
    whole = found["membership"]["all"]
    assert whole["attacks"][whole["strongest"]]["interval"][0] > 0.6
