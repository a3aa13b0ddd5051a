"""Tidegate: the LLM gateway that you own."""
