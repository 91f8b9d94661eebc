"""The steps between matrix products: what they take, and their reference form in plain PyTorch."""
