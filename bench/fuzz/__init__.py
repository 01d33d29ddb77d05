"""Mutated messages by the million, through parser and core."""
