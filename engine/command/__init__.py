"""What the `ringfold` command can do: a file a command, or a few that share their subject."""
