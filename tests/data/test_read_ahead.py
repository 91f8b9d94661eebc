"""Chunks may be read before their turn; what reading them counts, and how it ends, waits for it."""

import pytest

from medtune.data.quarantine import Quarantine
from medtune.data.read_ahead import ReadAhead
from medtune.errors import DataError


def chunks(quarantine, breaks=False):
    for number in range(3):
        quarantine.accept(2)
        quarantine.refuse(f"row {number}", f"file:{number}", "is empty")
        yield [number]
    quarantine.accept(5)
    if breaks:
        raise DataError("the file breaks off")


def test_nothing_is_counted_before_its_turn_however_far_is_read_ahead():
    quarantine = Quarantine(None, 1.0)
    ahead = ReadAhead(chunks(quarantine), quarantine)
    read = list(ahead)
    assert read == [[0], [1], [2]]
    told = [(quarantine.rows, quarantine.count)]
    for _chunk in read:
        ahead.count()
        told.append((quarantine.rows, quarantine.count))
    assert told == [(0, 0), (3, 1), (6, 2), (9, 3)]
    ahead.finish()
    assert (quarantine.rows, quarantine.count) == (14, 3)


def test_an_error_that_reading_ends_in_waits_until_all_before_it_is_counted():
    quarantine = Quarantine(None, 1.0)
    ahead = ReadAhead(chunks(quarantine, breaks=True), quarantine)
    assert len(list(ahead)) == 3
    for _ in range(3):
        ahead.count()
    assert quarantine.rows == 9
    with pytest.raises(DataError, match="breaks off"):
        ahead.finish()
    assert quarantine.rows == 14
