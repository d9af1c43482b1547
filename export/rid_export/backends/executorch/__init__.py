"""ExecuTorch, for apps that run PyTorch programs on phones."""
