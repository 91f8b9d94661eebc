"""The plan takes what memory there is: dequantized weights first, then slots, and short requests apart from long ones."""

from dataclasses import replace

from medtune.accel.decode.plan import Shape, SlotGroup, SlotSize, plan_decoding

MIB = 2**20
SHAPE = Shape(cache_per_token=MIB, work_per_token=1000, dequantized=1000 * MIB, scratch=10 * MIB, per_slot=0)
PLENTY = 10**15


def test_with_plenty_all_requests_share_one_cache_up_to_the_most_that_pay():
    plan = plan_decoding(SHAPE, [100] * 1000, PLENTY, None)
    assert plan.dequantize
    assert plan.groups == (SlotGroup(tuple(range(1000)), SlotSize(512, 128)),)


def test_a_wanted_number_of_slots_is_taken_but_no_more_than_there_are_requests():
    assert plan_decoding(SHAPE, [100] * 1000, PLENTY, 64).groups[0].size.slots == 64
    assert plan_decoding(SHAPE, [100] * 3, PLENTY, 64).groups[0].size.slots == 3


def test_weights_stay_compressed_when_dequantizing_them_would_leave_few_slots():
    budget = 64 * 128 * MIB + 100 * MIB
    plan = plan_decoding(SHAPE, [100] * 1000, budget, None)
    assert not plan.dequantize
    assert plan.groups[0].size.slots == 64
    assert plan_decoding(SHAPE, [100] * 1000, budget + 1000 * MIB, None).dequantize


def test_what_is_taken_stays_within_the_budget():
    needs = [50, 60, 900, 70, 3000] * 40
    for budget in (20_000 * MIB, 60_000 * MIB, 400_000 * MIB):
        plan = plan_decoding(SHAPE, needs, budget, None)
        fixed = (
            SHAPE.dequantized if plan.dequantize else SHAPE.scratch
        ) + plan.room.prompt_tokens * SHAPE.work_per_token
        for group in plan.groups:
            size = group.size
            assert size.slots == 1 or fixed + size.slots * size.capacity * SHAPE.cache_per_token <= budget
            assert size.capacity >= max(needs[i] for i in group.members)


def test_short_requests_do_not_take_long_slots_when_memory_is_short():
    needs = [50] * 30 + [3000] * 3
    plan = plan_decoding(SHAPE, needs, 20_000 * MIB, None)
    assert sorted(i for group in plan.groups for i in group.members) == list(range(33))
    short, long = plan.groups
    assert (set(short.members), set(long.members)) == (set(range(30)), {30, 31, 32})
    assert short.size.slots > long.size.slots
    assert short.size.capacity < long.size.capacity


def test_there_is_always_one_slot():
    assert plan_decoding(SHAPE, [10_000], 1, None).groups[0].size.slots == 1


def test_what_one_sequence_lacks_is_told_and_nothing_is_dequantized_then():
    need = 128 * MIB + 10 * MIB + 512 * 1000 + 7
    shape = replace(SHAPE, fixed=7)
    assert plan_decoding(shape, [100] * 9, need, None).lacking == 0
    short = plan_decoding(shape, [100] * 9, need - 1, None)
    assert (short.lacking, short.dequantize, short.groups[0].size.slots) == (1, False, 1)


def test_adapters_count_before_anything_else():
    budget = 64 * 128 * MIB + 100 * MIB
    assert plan_decoding(SHAPE, [100] * 1000, budget, None).groups[0].size.slots == 64
    assert plan_decoding(replace(SHAPE, fixed=100 * MIB), [100] * 1000, budget, None).groups[0].size.slots == 63
