"""The record of a run: what its folder holds, line by line of who changed it, under one root."""
