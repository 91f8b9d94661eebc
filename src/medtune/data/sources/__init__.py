"""Where rows lie: files of several kinds, and data sets on the hub."""
