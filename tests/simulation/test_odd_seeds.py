"""Many seeds of trouble: no accepted command is lost or applied twice, no money moves twice, and everything ends.

Every other seed; `test_even_seeds` has the others.
"""

from tests.simulation.seed_tests import met, quiet_product, test_seed, test_the_seeds_meet_every_situation

__all__ = ["met", "quiet_product", "test_seed", "test_the_seeds_meet_every_situation"]

SHARE = 1
"""Its seeds leave this when they are divided by two."""
