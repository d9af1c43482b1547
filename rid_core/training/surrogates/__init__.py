"""Training of small surrogates: a diffusion model of faces, and encoders."""
