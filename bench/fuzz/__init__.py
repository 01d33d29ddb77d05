"""The fuzzer: it sends mutated messages by the million through the parser and the core."""
