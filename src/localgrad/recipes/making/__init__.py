"""How recipes are made: a function per method gives the recipe of one network on one data set."""
