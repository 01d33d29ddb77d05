"""Measurements of playing: its cost, the punctuality of the packets, and the calls that the server takes a second."""
