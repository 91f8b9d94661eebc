"""What a finished run is turned into: merged weights, serving recipes, a card, a report."""
