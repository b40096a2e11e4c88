"""Where blocks are kept and come from: this disk, peers, an IPFS daemon."""
