"""Readers of price data."""
