"""One part of each family, as a package of its own has it."""
