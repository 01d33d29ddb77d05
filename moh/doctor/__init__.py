"""The doctor: looks at a set-up and its running server, and says in plain words what is wrong and what to do."""
