"""Adapters from one wire protocol each to the calls of service/; none knows another."""
