"""What is published, as documents that other tools read: CycloneDX, model cards, OMS bundles."""
