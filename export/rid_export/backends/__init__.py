"""One folder per target; the ``convert`` module of each is imported and registers itself."""
