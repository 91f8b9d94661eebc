"""Observers that show a run in an experiment tracker, each where ``train.report_to`` names it."""
