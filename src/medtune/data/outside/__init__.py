"""Tries tokenizers, chat templates and patterns that others wrote in a child process, before they are used in this one."""
