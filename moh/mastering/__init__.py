"""The owner's music file made fit for the telephone, before any call."""
