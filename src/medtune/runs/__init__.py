"""What outlives a process: the run folder, its checkpoints, log and lock, and the wish to stop."""
