"""The hub: which commit is asked for, what is fetched and checked of it, and what is found again without a request."""
