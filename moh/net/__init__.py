"""Sockets and what the kernel says of them: addresses, routes, many datagrams by one system call."""
