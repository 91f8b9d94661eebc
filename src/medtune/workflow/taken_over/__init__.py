"""Makes specs of other programs' configurations, and compares their prompts with medtune's."""
