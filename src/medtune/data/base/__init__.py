"""What a base's folder holds, read and judged before its weights are loaded."""
