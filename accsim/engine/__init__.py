"""The tile program, the door to its engine, composition, energy."""
