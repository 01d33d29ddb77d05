"""Session descriptions, offer and answer (RFC 8866, RFC 3264). Part of the core: no I/O."""
