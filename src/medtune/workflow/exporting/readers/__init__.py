"""Programs that load an artifact without medtune; each runs in a process of its own."""
