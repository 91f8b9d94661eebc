"""What answers are worth: tasks, scores, intervals, comparison."""
