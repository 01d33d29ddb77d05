"""Playing music to callers: what it costs, how punctual it is, how many calls a second the server takes."""
