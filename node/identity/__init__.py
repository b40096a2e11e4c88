"""Who a node is: key files, passphrases, rotation, recovery, revocation, and watching its keys."""
