"""UDP sockets, local addresses and routes, and the system calls that send or receive many datagrams."""
