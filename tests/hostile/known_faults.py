"""Cases that do not end as promised yet, each with the reason; a test that passes again must leave this list."""

FAULTS: dict[tuple[str, str], str] = {}
