"""The attack itself: a diffusion model is personalized on a few photos, and asked for the person."""
