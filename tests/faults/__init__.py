"""What goes wrong between us and the API, made to go wrong on purpose."""
