"""The seams of medtune: what a backend must offer and how plugins are found."""
