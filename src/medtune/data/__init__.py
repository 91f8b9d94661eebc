"""The way of a row: read, formatted, encoded, packed; every token accounted for."""
