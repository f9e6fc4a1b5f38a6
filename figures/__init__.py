"""One script a figure: which runs it needs, and how it is drawn from their results."""
