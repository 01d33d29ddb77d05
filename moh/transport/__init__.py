"""SIP over TCP and TLS, and host names to addresses."""
