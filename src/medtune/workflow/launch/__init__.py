"""Files that start a run on a cluster, written from its plan."""
