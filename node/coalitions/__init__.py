"""Evaluating the coalitions of a lock: remembered, and spread over processes or a cluster."""
