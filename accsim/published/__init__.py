"""Models of papers, re-made from what was published about them, to hold published rows and the engine against.

They are no part of the simulator: nothing below the figures and the validation may import them.
"""
