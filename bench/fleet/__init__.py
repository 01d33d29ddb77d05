"""A fleet of servers behind Kamailio: what a failure costs, what one machine can do, and the arithmetic of many."""
