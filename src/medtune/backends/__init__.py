"""The backends that medtune brings along; each is a plugin like any other and imports its library when used."""
