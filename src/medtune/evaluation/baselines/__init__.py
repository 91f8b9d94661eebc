"""Systems to hold a run against: what they are asked, and the simple ones that need no model."""
