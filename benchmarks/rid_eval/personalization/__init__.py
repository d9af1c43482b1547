"""The attack itself: a model is personalized on a few photos, and asked for the person."""
