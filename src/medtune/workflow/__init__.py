"""What needs several rooms: a training run, an opened run, scoring, the leak test, the bench."""
