"""What travels between nodes, and what they make of it: logs, blocks, cosignatures, evidence."""
