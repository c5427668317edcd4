"""Alerts: a call when nobody is looking.  Beat looks, remembers in MySQL, and tells the channels what changed."""
