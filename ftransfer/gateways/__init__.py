"""Gateways: each adapts one wire protocol to the calls of service/, and none knows another."""
