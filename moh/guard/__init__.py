"""Limits on sources: address validation, rates, and where music may go. Part of the core: no I/O."""
