"""An ffmpeg process for each call: command, start, supervision, end."""
