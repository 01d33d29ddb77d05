"""What all packages share: addresses, codecs, actions, tunes, counters, settings, errors."""
