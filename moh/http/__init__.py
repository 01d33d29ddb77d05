"""The page, its data and the metrics, by HTTP: a process of its own, which only reads the server's state."""
