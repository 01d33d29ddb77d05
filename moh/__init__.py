"""Music on hold by SIP. ``docs/architecture.md`` says which package does what and may import which."""

__version__ = "0.1.0"
