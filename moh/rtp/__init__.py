"""RTP and RTCP as numbers and octets: packets, the port pool, liveness of receivers. Part of the core: no I/O."""
