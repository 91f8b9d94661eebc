"""Proves exports: the tuned model is asked, the artifact is loaded in a fresh process and asked the same, both are compared."""
