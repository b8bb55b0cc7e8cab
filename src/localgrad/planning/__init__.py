"""Before a distributed run: which process hosts what, what it will cost, and what thousands of nodes would do."""
