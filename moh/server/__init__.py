"""The parts that ``sip_server.py`` is put together from."""
