"""The soak test: calls come and go for an hour, and nothing of them may be left in the server."""
