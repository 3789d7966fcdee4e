"""Attacks for real, from a second local user, another host or a proxy: each was seen to succeed before."""
