"""The Brian2 engine: cells, circuits and recordings from the text of the models."""
