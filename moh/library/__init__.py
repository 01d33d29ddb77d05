"""The names of the owner's music folder: a process that watches the folder, and converts what is behind each name."""
