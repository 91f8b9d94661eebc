"""The audit of a run: canaries, copies and membership, asked of its adapter and of its base."""
