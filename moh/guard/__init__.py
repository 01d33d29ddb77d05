"""Limits on sources: address validation, rate limits, and the media policy. Part of the core: no I/O."""
