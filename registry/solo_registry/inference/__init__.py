"""A trained backbone at work on a user's files: features, predicted classes, nearest images."""
