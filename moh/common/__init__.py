"""The words that all packages share: addresses, codecs, actions, counters, settings, errors."""
