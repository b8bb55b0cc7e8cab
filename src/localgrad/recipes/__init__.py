"""Recipes: functions that return a Run. The signature of a recipe is its command line."""
