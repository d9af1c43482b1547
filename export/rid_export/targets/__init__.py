"""One module per target; every module here is imported and registers itself."""
