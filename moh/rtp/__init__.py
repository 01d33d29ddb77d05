"""RTCP packets, the RTP port pool, and the liveness of receivers. Part of the core: no I/O."""
