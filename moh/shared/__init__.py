"""The shared stream: one encoded loop, sent to any number of receivers from one port."""
