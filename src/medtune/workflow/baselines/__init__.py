"""Systems that a user could have instead of a run's adapter, on its rows and by its scorer."""
