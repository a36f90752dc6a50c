"""Augmentation, networks, recipes, the training loop and checkpoints. The only room with torch in it, with scaling.

`recipes` itself does not need torch, so that the command line can name and check recipes at once.
"""
