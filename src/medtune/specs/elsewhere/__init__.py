"""What the settings of other training programs mean here, key by key."""
