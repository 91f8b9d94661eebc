"""What a tuned model remembers of its training rows: exposure of canaries, copied spans, membership."""
