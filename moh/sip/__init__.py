"""SIP from messages to calls (RFC 3261). Part of the core: no I/O."""
