"""Calls that come and go for an hour: what stays behind."""
