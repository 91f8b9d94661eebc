import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.errors import SpecChangedError, SpecError
from medtune.runs.changes import FREE_FIELDS, refuse_changes
from medtune.specs import RunSpec

PRINTS = {"data": "d1", "prompt_contract": "p1", "model": "m1"}


def spec(**train):
    return RunSpec.model_validate({"train": train}).model_dump(mode="json")


def check(new, old=None, prints=PRINTS):
    refuse_changes("run", {"spec": old or spec(), "fingerprints": PRINTS}, new, prints)


def test_the_same_spec_is_accepted():
    check(spec())


def test_each_changed_field_is_named_with_both_values():
    with pytest.raises(SpecChangedError) as caught:
        check(spec(learning_rate=1e-3, max_length=256))
    assert caught.value.changes == (
        "train.learning_rate was 0.0002 and is now 0.001",
        "train.max_length was 512 and is now 256",
    )
    assert caught.value.exit_code == 2


def flat(value, name=""):
    if not isinstance(value, dict):
        return [name]
    return [leaf for key, part in value.items() for leaf in flat(part, f"{name}.{key}" if name else key)]


LEAVES = sorted(flat(spec()))


@given(st.sampled_from(LEAVES))
def test_a_field_is_free_only_when_it_is_declared_so(name):
    changed = spec()
    part = changed
    *parents, last = name.split(".")
    for parent in parents:
        part = part[parent]
    part[last] = "something else"
    free = {*FREE_FIELDS, "data.source", "data.validation", "model.path"}
    if any(name == field or name.startswith(field + ".") for field in free):
        check(changed)
    else:
        with pytest.raises(SpecChangedError, match=name.replace(".", r"\.")):
            check(changed)


def test_free_fields_exist():
    parts = {name.rpartition(".")[0] for name in LEAVES}
    assert set(LEAVES) | parts >= FREE_FIELDS


@pytest.mark.parametrize(
    "schedule",
    [
        {"lr_scheduler_type": "constant"},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.0},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3},
    ],
)
def test_the_length_may_change_when_the_schedule_ignores_it(schedule):
    check(spec(max_steps=20, **schedule), spec(max_steps=10, **schedule))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant_with_warmup"])
def test_the_length_may_not_change_when_the_learning_rate_depends_on_it(schedule):
    with pytest.raises(SpecChangedError, match="max_steps"):
        check(spec(max_steps=20, lr_scheduler_type=schedule), spec(max_steps=10, lr_scheduler_type=schedule))


@pytest.mark.parametrize("name", PRINTS)
def test_a_changed_fingerprint_is_refused_even_with_the_same_spec(name):
    with pytest.raises(SpecChangedError, match=name.replace("_", " ")):
        check(spec(), prints={**PRINTS, name: "other"})


def test_a_fingerprint_that_is_missing_or_new_is_a_change():
    for prints in ({"data": "d1", "model": "m1"}, {**PRINTS, "tokenizer_files": "t1"}):
        with pytest.raises(SpecChangedError, match=r"(prompt contract|tokenizer files) itself changed"):
            check(spec(), prints=prints)


def test_a_moved_data_set_is_accepted_when_its_fingerprint_is_the_same():
    moved = spec()
    moved["data"]["source"] = "/elsewhere/rows.jsonl"
    check(moved)
    with pytest.raises(SpecChangedError, match="data"):
        check(moved, prints={**PRINTS, "data": "other"})


@pytest.mark.parametrize(
    ("part", "name", "former"),
    [("train", "dequantized_weights", "restored_weights"), ("eval", "label_likelihood", "closed_answers")],
)
def test_a_record_with_a_field_s_former_name_is_compared_by_its_name(monkeypatch, part, name, former):
    monkeypatch.setattr("medtune.runs.changes.FREE_FIELDS", frozenset())  # both happen to be free
    old = spec()
    value = old[part].pop(name)
    check(spec(), {**old, part: {**old[part], former: value}})
    new = spec()
    new[part][name] = "keep" if part == "train" else True
    with pytest.raises(SpecChangedError) as caught:
        check(new, {**old, part: {**old[part], former: value}})
    assert caught.value.changes == (f"{part}.{name} was {value!r} and is now {new[part][name]!r}",)


def test_a_field_that_the_record_does_not_have_had_its_default():
    old = spec()
    del old["train"]["share_prefixes"]
    check(spec(), old)
    with pytest.raises(SpecChangedError) as caught:
        check(spec(share_prefixes=False), old)
    assert caught.value.changes == ("train.share_prefixes was True and is now False",)


def test_a_record_with_a_field_of_another_version_is_refused_by_its_name():
    old = spec()
    old["train"]["momentum"] = 0.9
    with pytest.raises(SpecError, match=r"by another version of medtune: this one does not take its train\.momentum;"):
        check(spec(), old)


def with_options(**options):
    return RunSpec.model_validate({"lora": {"options": options}}).model_dump(mode="json")


def test_a_credential_may_be_another_one_and_is_compared_as_it_is_recorded():
    recorded = with_options(api_key="***", endpoint="https://***@host")
    for key in ("first", "second"):
        check(with_options(api_key=key, endpoint=f"https://ward:{key}@host"), recorded)
        check(
            with_options(api_key="***", endpoint="https://***@host"),
            with_options(api_key=key, endpoint="https://***@host"),
        )
    with pytest.raises(SpecChangedError) as caught:
        check(with_options(api_key="first", endpoint="https://ward:first@elsewhere"), recorded)
    assert "first" not in str(caught.value)
