"""Whether the plugin keeps medtune's contract: a case for each check of the conformance kit."""

from medtune.testing.conformance import conformance_tests

test_conformance = conformance_tests("medtune-bars")
